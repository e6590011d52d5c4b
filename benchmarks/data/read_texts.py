"""How fast texts are read, and how long prepare takes for them, beside another checkout.

    python -m benchmarks.data.read_texts --source FOLDER --other CHECKOUT --out read_texts.json

FOLDER holds SNLI in the Parquet layout of the Hugging Face hub. Its rows are written, as many times
as it takes to make a file of --megabytes, as CSV (quoted where it must be, and always) and as JSON
lines; a second CSV holds long texts with quotes and line breaks. Each file is read on one core by

- ours: the labels and all checks, then the texts, each in a pass of its own as prepare does;
- one pass of ours over the texts only;
- Python's csv or json alone, which make rows of Python's own;
- Polars' reader (of CSV as text, of JSON lines), which is not strict.

With --other, a folder with another version of this code, `prepare` of FOLDER and of the CSV and
JSON lines is run from both in turns, start of Python included, and their arrays are compared.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import ROOT
from benchmarks.shared import machine
from crest.data.delimited import Delimited
from crest.data.json_rows import JsonRows

TEXTS = ("premise", "hypothesis")
LABEL = "label"


def write_files(source: Path, folder: Path, megabytes: float) -> dict[str, Path]:
    """Write the files; returns them by what they are."""
    rows = pl.concat(
        [pl.read_parquet(file) for file in sorted(source.glob("train-*.parquet"))]
    ).filter(pl.col(LABEL) >= 0)
    times = max(1, round(megabytes * 1e6 / len(rows.write_csv())))
    many = pl.concat([rows] * times)
    words = rows["premise"].to_list()
    long = [f'{" ".join(words[at : at + 20])}\nsaid "{words[at]}", twice' for at in range(1000)]
    longer = pl.DataFrame({
        "premise": long, "hypothesis": words[:1000], LABEL: [at % 3 for at in range(1000)]
    })  # fmt: skip
    files = {name: folder / name for name in ("short.csv", "quoted.csv", "long.csv", "rows.jsonl")}
    many.write_csv(files["short.csv"])
    many.write_csv(files["quoted.csv"], quote_style="always")
    pl.concat([longer] * max(1, round(megabytes * 1e6 / len(longer.write_csv())))).write_csv(
        files["long.csv"]
    )
    many.write_ndjson(files["rows.jsonl"])
    return files


def readers(file: Path) -> dict[str, Callable[[], int]]:
    """Return functions that read a file and return how many rows it has."""
    lines = file.suffix == ".jsonl"
    reader = JsonRows() if lines else Delimited()

    def texts() -> int:
        return sum(len(frame) for frame in reader.texts(str(file), TEXTS, 0))

    def ours() -> int:
        labels = reader.labels(str(file), TEXTS, LABEL)
        assert texts() == len(labels)
        return len(labels)

    def python() -> int:
        with file.open(encoding="utf-8", newline="") as stream:
            if lines:
                return sum(1 for _ in map(json.loads, stream))
            return sum(1 for _ in csv.reader(stream, strict=True)) - 1

    def polars() -> int:
        if lines:
            return len(pl.scan_ndjson(file, infer_schema_length=None).collect())
        return len(pl.read_csv(file, infer_schema=False, glob=False))

    name = "Python's json" if lines else "Python's csv"
    return {"ours": ours, "ours, one pass": texts, name: python, "Polars": polars}


def measure(files: dict[str, Path], rounds: int) -> list[dict[str, object]]:
    """Time all readers in turns, in seconds of processor time."""
    found: list[dict[str, object]] = []
    for name, file in files.items():
        megabytes = file.stat().st_size / 1e6
        taken: dict[str, list[float]] = {}
        counts = set()
        for _ in range(rounds):
            for title, read in readers(file).items():
                before = time.process_time()
                counts.add(read())
                taken.setdefault(title, []).append(time.process_time() - before)
        assert len(counts) == 1, f"{name}: the readers found {counts} rows"
        for title, seconds in taken.items():
            found.append({
                "file": name, "megabytes": megabytes, "reader": title,
                "megabytes_per_second": megabytes / statistics.median(seconds),
            })  # fmt: skip
    return found


def prepare(checkout: Path, source: Path, dataset: str, tokenizer: str, folder: Path) -> float:
    """Run prepare of a checkout into a folder; seconds on the clock."""
    parameters: dict[str, Any] = {"dataset": dataset, "source": str(source), "tokenizer": tokenizer}
    if dataset == "text":
        parameters |= {"text_columns": list(TEXTS), "label_column": LABEL}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(json.dumps({"prepare": parameters}))
    environment = {**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    environment.pop("POLARS_MAX_THREADS", None)
    before = time.perf_counter()
    subprocess.run(
        [sys.executable, str(checkout / "cli.py"), "prepare"],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - before


def compare(
    sources: dict[str, Path], other: Path, tokenizer: str, rounds: int, folder: Path
) -> list[dict[str, object]]:
    """Run prepare of both checkouts in turns, and check that they make the same arrays."""
    found: list[dict[str, object]] = []
    for name, source in sources.items():
        dataset = "snli" if name == "parquet" else "text"
        taken: dict[str, list[float]] = {"ours": [], "other": []}
        for number in range(rounds):
            both = [("ours", ROOT), ("other", other)]
            for title, checkout in both if number % 2 else reversed(both):
                out = folder / "projects" / title
                taken[title].append(prepare(checkout, source, dataset, tokenizer, out))
        arrays = [
            {path.name: path.read_bytes() for path in (folder / "projects" / title).rglob("*.npy")}
            for title in taken
        ]
        assert arrays[0] == arrays[1], f"{name}: the checkouts prepared different arrays"
        ratios = [ours / theirs for ours, theirs in zip(*taken.values(), strict=True)]
        found.append({
            "source": name, "ours": taken["ours"], "other": taken["other"],
            "ratio": statistics.median(ratios),
        })  # fmt: skip
    return found


def split_folders(source: Path, files: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Return SNLI itself, and folders of the CSV and JSON lines as train and test."""
    folders = {"parquet": source}
    for name in ("short.csv", "rows.jsonl"):
        path = folder / f"from-{name}"
        path.mkdir()
        for split in ("train", "test"):
            (path / f"{split}{files[name].suffix}").hardlink_to(files[name])
        folders[files[name].suffix[1:]] = path
    return folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--other", type=Path, help="another version of this code, for prepare")
    parser.add_argument("--tokenizer", help="of prepare; a tiny one is made if none is named")
    parser.add_argument("--megabytes", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to write everything as JSON")
    arguments = parser.parse_args()
    source = arguments.source.expanduser().resolve()
    record: dict[str, Any] = {"machine": machine.describe()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_files(source, folder, arguments.megabytes)
        record["reading"] = measure(files, arguments.rounds)
        print(f"{'file':12} {'reader':16} {'MB/s and core':>14}")
        for row in record["reading"]:
            print(f"{row['file']:12} {row['reader']:16} {row['megabytes_per_second']:14.1f}")
        if arguments.other is not None:
            tokenizer = arguments.tokenizer
            if tokenizer is None:
                from tests.tiny_text import tiny_tokenizer

                tokenizer = str(tiny_tokenizer(folder / "tokenizer"))
            other = arguments.other.expanduser().resolve()
            sources = split_folders(source, files, folder)
            record["prepare"] = compare(sources, other, tokenizer, arguments.rounds, folder)
            print(f"\n{'prepare':12} {'ours':>8} {'other':>8} {'ratio':>6}")
            for row in record["prepare"]:
                ours, theirs = (statistics.median(row[title]) for title in ("ours", "other"))
                print(f"{row['source']:12} {ours:6.1f} s {theirs:6.1f} s {row['ratio']:6.2f}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
