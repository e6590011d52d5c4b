"""CSV and other cells between delimiters, read as Python's ``csv`` does where it is strict.

Rows are never joined, dropped or quoted anew: what it would not take is refused with its row, and
so is a row of more or fewer cells than the header. Blank lines are passed over.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn

import polars as pl

from crest.data.sources import some
from crest.data.text_format import TEXTS, changed, keys_of, no_column, place, without_blanks
from crest.data.utf8 import ANY_BREAK, AT_ONCE, LONGEST, opened, pieces
from crest.errors import DataError

NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
WHOLE_NUMBER = r"^[+-]?[0-9]+$"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# What programs write for a number that there is not.
MISSING = frozenset(
    {"na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nil", "?", "-", "\\n"}
)

# What Python's csv says, and what it means.
REASONS = (
    ("unexpected end of data", "the quote that opens a cell is never closed; close it"),
    ("expected after", "a cell goes on after its closing quote; write quotes within it twice"),
    ("field limit", f"a cell of more than {LONGEST} characters; is a closing quote missing?"),
)
BACKSLASHES = " (quotes are escaped by backslashes here; in CSV they are written twice)"


@dataclass(frozen=True)
class Delimited:
    """A format of cells between delimiters, the first row of which names the columns.

    ``key`` is the parameter that names the columns of texts.
    """

    delimiter: str = ","
    key: str = TEXTS

    def columns(self, file: str) -> list[str]:
        """Name the columns, less the white space around them."""
        _, _, header = next(self._numbered(file), (-1, (1, 1), []))
        return [name.strip() for name in header]

    def labels(self, file: str, texts: Sequence[str], label: str) -> pl.Series:
        """Read the labels of a file, and check all of it; what are all numbers are numbers.

        Raises
        ------
        DataError
            If the file is not well-formed, or lacks a column or has it twice.
        """
        found = [
            frame[label] for frame in self._frames(file, (label,), keys_of(texts, label, self.key))
        ]
        labels = pl.concat(found) if found else pl.Series(label, [], pl.String)
        cells = labels.alias("")
        _Labels(cells, file, label, self.at).refuse_space_before_quotes()
        plain = without_blanks(cells)
        return _Labels(plain, file, label, self.at).typed().alias("label")

    def texts(self, file: str, texts: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
        """Yield the text columns, a piece of consecutive rows at a time."""
        return self._frames(file, texts, keys_of(texts, key=self.key))

    def at(self, file: str, row: int) -> str:
        """Name a row by its number and its lines."""
        found = (place(row, *lines) for number, lines, _ in self._numbered(file) if number == row)
        return next(found, place(row))

    def _frames(
        self, file: str, columns: Sequence[str], keys: Mapping[str, str]
    ) -> Iterator[pl.DataFrame]:
        """Yield columns as strings; all that ``keys`` names must be there."""
        with opened(file, ANY_BREAK) as (stream, checked):
            for piece in pieces(self._columns(file, stream, columns, keys), checked):
                yield pl.DataFrame(piece, schema=dict.fromkeys(columns, pl.String))

    def _columns(
        self, file: str, lines: Iterable[str], columns: Sequence[str], keys: Mapping[str, str]
    ) -> Iterator[dict[str, Sequence[str]]]:
        """Yield the columns of a few rows at a time."""
        reader = self._reader(lines)

        def take(count: int) -> list[list[str]]:
            try:
                with _long_cells():
                    return list(islice(reader, count))
            except csv.Error:
                self._refuse_broken(file)

        while (first := take(1)) and _is_blank(first[0]):
            pass
        if not first:
            return
        header = first[0]
        places = self._places(file, header, keys)
        count = 0
        while rows := take(AT_ONCE):
            if set(map(len, rows)) != {len(header)}:
                rows = [row for row in rows if not _is_blank(row)]
                self._refuse_ragged(file, rows, len(header), count)
            count += len(rows)
            cells = list(zip(*rows, strict=True)) or [()] * len(header)
            yield {name: cells[places[name]] for name in columns}

    def _reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self.delimiter, strict=True)

    def _numbered(self, file: str) -> Iterator[tuple[int, tuple[int, int], list[str]]]:
        """Yield number, first and last line, and cells of each row; the header's number is -1."""
        with opened(file, ANY_BREAK) as (stream, _):
            lines = _Lines(stream)
            reader = self._reader(lines)
            row = -1
            while True:
                first, lines.backslashes = lines.count + 1, False
                try:
                    with _long_cells():
                        cells = next(reader, None)
                except csv.Error as error:
                    where = place(row, first, lines.count) if row >= 0 else "the header"
                    reason = next(
                        (text for pattern, text in REASONS if pattern in str(error)), str(error)
                    )
                    hint = BACKSLASHES if lines.backslashes else ""
                    raise DataError(f"{file}, {where}: {reason}{hint}") from None
                if cells is None:
                    return
                if not _is_blank(cells):
                    yield row, (first, lines.count), cells
                    row += 1

    def _refuse_broken(self, file: str) -> NoReturn:
        """Raise for the row that csv would not take."""
        for _ in self._numbered(file):
            pass  # until it comes to that row, and raises
        raise changed(file)

    def _refuse_ragged(self, file: str, rows: Sequence[list[str]], width: int, count: int) -> None:
        """Raise for the first of the rows that has another number of cells than the header."""
        ragged = next((number for number, row in enumerate(rows) if len(row) != width), None)
        if ragged is None:
            return
        cells = rows[ragged]
        hint = BACKSLASHES if any('\\"' in cell for cell in cells) else ""
        raise DataError(
            f"{file}, {self.at(file, count + ragged)}: {len(cells)} cells, the header has {width}; "
            f"put texts that hold {NAMES[self.delimiter]}, quotes or line breaks in quotes{hint}"
        )

    def _places(self, file: str, header: list[str], keys: Mapping[str, str]) -> dict[str, int]:
        """Find the columns in the header, where white space may stand around their names."""
        bare = [name.strip() for name in header]
        places = {}
        for column in keys:
            name, names = (column, header) if column in header else (column.strip(), bare)
            if name not in names:
                missing = no_column(file, column, header, keys)
                raise DataError(f"{missing}{self._hint(header, keys)}")
            if names.count(name) > 1:
                raise DataError(
                    f"{file}: more than one column '{column}'; rename or drop all but one"
                )
            places[column] = names.index(name)
        return places

    def _hint(self, header: list[str], keys: Mapping[str, str]) -> str:
        """Say what else may be wrong with a header that lacks a column."""
        if header[0].startswith("sep="):
            return "; or remove the first line, which only Excel knows"
        for delimiter, name in NAMES.items():
            if len(header) == 1 and delimiter != self.delimiter and delimiter in header[0]:
                remedy = {"\t": "let its name end in .tsv", ",": "let its name end in .csv"}
                return (
                    f"; or its cells are divided by {name}, not {NAMES[self.delimiter]}: "
                    f"{remedy.get(delimiter, 'write it with ' + NAMES[self.delimiter])}"
                )
        if not any(name.strip() in {column.strip() for column in keys} for name in header):
            return f"; or, if it has no header, write one: {self.delimiter.join(keys)}"
        return ""


@dataclass(frozen=True, eq=False)
class _Labels:
    """The cells of a label column, less blanks; their name is none that Polars takes for more."""

    cells: pl.Series
    file: str
    column: str
    at: Callable[[str, int], str]

    def refuse_space_before_quotes(self) -> None:
        """Raise for a cell whose quotes csv takes for a part of it, as white space comes first."""
        quoted = self.cells.filter(self.cells.str.contains(r'^\s+"').fill_null(False)).unique()
        self._refuse(quoted, "has white space before its quote, which is thereby a part of it")

    def typed(self) -> pl.Series:
        """Return labels that are all numbers as numbers."""
        words = self.cells.drop_nulls().unique()
        for pattern, kind in ((WHOLE_NUMBER, pl.Int64), (NUMBER, pl.Float64)):
            if words.is_empty() or not words.str.contains(pattern).all():
                continue
            numbers = words.cast(kind, strict=False)
            beyond = numbers.is_null() | numbers.cast(pl.Float64).is_infinite()
            self._refuse(words.filter(beyond), "is beyond 64 bits, as no class number is")
            twice = words.filter(numbers.is_duplicated()).sort()
            ways = some(twice.to_list())
            self._refuse(twice, f"stands for a number written in several ways ({ways})")
            return self.cells.cast(kind)
        self._refuse_odd_words(words)
        return self.cells

    def _refuse_odd_words(self, words: pl.Series) -> None:
        """Raise for a word where nine in ten labels or more are numbers: it is a slip.

        Where all words stand for a number that is missing, they need not be so few.
        """
        words = words.filter(~words.str.contains(NUMBER))
        odd = self.cells.is_in(words.implode()).sum()
        missing = words.str.to_lowercase().is_in(list(MISSING)).all()
        if odd <= len(self.cells) / 10 or (missing and odd < self.cells.count()):
            self._refuse(words, "is no number, as the others are")

    def _refuse(self, wrong: pl.Series, why: str) -> None:
        """Raise for the first label that is one of the wrong ones."""
        rows = self.cells.is_in(wrong.implode()).fill_null(False).arg_true()
        if len(rows):
            row = int(rows[0])
            raise DataError(
                f"{self.file}, column '{self.column}', {self.at(self.file, row)}: the label "
                f"{self.cells[row]!r:.40} {why}; correct it"
            )


class _Lines:
    """Lines that are counted, and searched for quotes escaped by backslashes."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.count = 0
        self.backslashes = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        self.backslashes |= '\\"' in line
        return line


def _is_blank(row: list[str]) -> bool:
    """Whether a row is a line of nothing but white space."""
    return not row or (len(row) == 1 and row[0].isspace())


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let csv take cells of the greatest length; its limit is one for all readers."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
