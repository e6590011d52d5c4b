"""Random files of cells between delimiters, and what Python's csv makes of them.

    python -m tests.data.random_csv 50000

reads so many files with ours and with Python's, and counts how many were read and refused.
"""

import csv
import io
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from crest.data.delimited import Delimited
from crest.errors import DataError

COLUMNS = ("text", "label")
# What a file is made of; the first of them are the marks of the format.
MARKS = (",", "\n", "\r", "\r\n", '"', '""', "\\", '\\"', ' "', '", ', " ", "\t", ";", "'")
LETTERS = (
    "a",
    "é",
    "0",
    "1",
    "text",
    "\0",
    "\x0b",
    "\x1c",
    "\x85",
    "\u2028",
    "\ufeff",
    "😀",
    "\u0301",
)
ENDS = ("\n", "\r\n", "\r")
HEADERS = ("text,label", "label,text", ",text,label", 'text,"label"', "text,other,label", "text")


def draw(random: np.random.Generator) -> bytes:
    """Return a file: rows that are well-formed, of which some marks are then moved about."""

    def some(pool: tuple[str, ...], most: int) -> str:
        return "".join(pool[n] for n in random.integers(len(pool), size=random.integers(most + 1)))

    header = HEADERS[random.choice(len(HEADERS), p=(0.6, 0.1, 0.1, 0.1, 0.05, 0.05))]
    end = ENDS[random.choice(3, p=(0.6, 0.3, 0.1))]
    lines = [header]
    quoting = random.random()
    for _ in range(random.integers(0, 8)):
        cells = []
        for _ in range(header.count(",") + 1):
            quoted = random.random() < quoting
            cell = some(MARKS + LETTERS if quoted else LETTERS + MARKS[6:7] + MARKS[9:], 5)
            cells.append('"' + cell.replace('"', '""') + '"' if quoted else cell)
        lines.append(",".join(cells))
        if random.random() < 0.05:
            lines.append(some((" ", "\t", ""), 2))
    text = end.join(lines) + (end if random.random() < 0.7 else "")
    for _ in range(random.choice(4, p=(0.4, 0.3, 0.2, 0.1))):
        at, until = sorted(random.integers(0, len(text) + 1, 2))
        match random.integers(4):
            case 0:
                text = text[:at] + some(MARKS, 2) + text[at:]
            case 1:
                text = text[:at] + text[at + 1 :]
            case 2:
                text = text[:at] + some(MARKS + LETTERS, 3) + text[at + 1 :]
            case _ if random.random() < 0.3:
                text = text[:until]
    data = text.encode()
    if random.random() < 0.1:
        data = b"\xef\xbb\xbf" + data
    if random.random() < 0.05:
        at = random.integers(0, len(data) + 1)
        data = data[:at] + bytes(random.integers(128, 256, 1, dtype=np.uint8)) + data[at:]
    return data


def reference(data: bytes, delimiter: str = ",") -> list[tuple[str, ...]] | None:
    """Return the cells of both columns as csv reads them; None where it, or the shape, is wrong."""
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
        lines = io.StringIO(text, newline="")
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    rows = [row for row in rows if not (not row or (len(row) == 1 and row[0].isspace()))]
    if not rows:
        return []
    header, *rows = rows
    bare = [name.strip() for name in header]
    if any(len(row) != len(header) for row in rows):
        return None
    places = []
    for column in COLUMNS:
        names = header if column in header else bare
        if names.count(column) != 1:
            return None
        places.append(names.index(column))
    return [tuple(row[place] for place in places) for row in rows]


def ours(file: Path, data: bytes, delimiter: str = ",") -> list[tuple[str, ...]] | DataError:
    """Return the cells of both columns as our reader reads them, or its refusal."""
    file.write_bytes(data)
    try:
        frames = list(Delimited(delimiter).texts(str(file), COLUMNS, 0))
    except DataError as error:
        return error
    return pl.concat(frames).rows() if frames else []


def compare(file: Path, data: bytes, delimiter: str = ",") -> str:
    """Return what became of a file: read, or refused; fails where it differs from csv."""
    expected, found = reference(data, delimiter), ours(file, data, delimiter)
    if isinstance(found, DataError):
        # What begins as UTF-16 without a mark does is refused, though csv reads its NULs.
        odd = "UTF-16" in str(found) and b"\0" in data[:4]
        assert expected is None or odd, (data, expected, found)
        return "refused"
    assert found == expected, (data, expected, found)
    return "read"


def main() -> None:
    random = np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    polars: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(int(sys.argv[1])):
            data = draw(random)
            outcomes[compare(Path(folder) / "train.csv", data)] += 1
            polars[polars_outcome(Path(folder) / "train.csv", data)] += 1
    print("ours:", dict(outcomes))
    print("Polars:", dict(polars))


def polars_outcome(file: Path, data: bytes) -> str:
    """Return what Polars alone makes of a file, beside Python's csv."""
    expected = reference(data)
    try:
        frame = pl.read_csv(file, infer_schema=False, glob=False)
        found = frame.select(pl.col("text", "label").fill_null("")).rows()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return "refused"
    return "read as csv" if found == expected else "silently different"


if __name__ == "__main__":
    main()
