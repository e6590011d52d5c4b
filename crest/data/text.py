"""Texts and labels in Parquet, CSV or JSON lines: one or two text columns and a label column.

Parquet is laid out and read as in :mod:`crest.data.parquet`, a slice of rows at a time; CSV
(``SPLIT.csv``, ``SPLIT-*.csv``) and JSON lines (``.jsonl``, ``.ndjson``) are read a file at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crest.config import PrepareParameters
from crest.data.parquet import (
    UNREADABLE,
    SplitFiles,
    class_names,
    metadata_of,
    plain,
    scan,
    slice_rows,
)
from crest.data.sources import DatasetSpec, Source, some
from crest.data.split_names import open_splits
from crest.errors import DataError


def _open_csv(file: str) -> pl.LazyFrame:
    """Read a CSV, all of it as text: a scan of some columns would not see a row of too many."""
    return pl.read_csv(file, infer_schema=False, null_values="", glob=False).lazy()


def _open_json_lines(file: str) -> pl.LazyFrame:
    """Open JSON lines, of the types that all their rows have."""
    return pl.scan_ndjson(file, infer_schema_length=None)


# The formats of lines by the endings of their names.
LINES: Mapping[str, Callable[[str], pl.LazyFrame]] = {
    "csv": _open_csv,
    "jsonl": _open_json_lines,
    "ndjson": _open_json_lines,
}
SUFFIXES = ("parquet", *LINES)
WHOLE_NUMBER = r"^[+-]?\d+$"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class TextLayout:
    """What a data set calls its columns, and which label stands for none."""

    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"
    unlabelled: int | None = None


@dataclass(frozen=True, eq=False)
class TextReader:
    """A split of texts; ``rows`` are those of its files that have a label, counted through."""

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    text_columns: tuple[str, ...]
    label_column: str
    rows: NDArray[np.int64]
    values: pl.Series

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dropped(self) -> int:
        """Rows left out because they have no label."""
        return sum(self.sizes) - len(self.rows)

    def labels(self) -> pl.Series:
        """Labels of the rows."""
        return self.values

    def texts(self) -> Iterator[pl.DataFrame]:
        """Yield the text columns of the rows as strings, in order, a batch at a time."""
        starts = np.cumsum([0, *self.sizes])
        place = 0
        for file, (first, last) in zip(self.files, pairwise(starts), strict=True):
            for start, frame in self._slices(file, int(last - first)):
                end = first + start + len(frame)
                taken = self.rows[place : np.searchsorted(self.rows, end)] - first - start
                if len(taken):
                    yield self._checked(frame[taken], place)
                place += len(taken)

    def label_at(self, row: int) -> str:
        """File, column and row within the file."""
        return self._at(self.label_column, row)

    def text_at(self, row: int) -> str:
        """File, first text column and row within the file."""
        return self._at(self.text_columns[0], row)

    def _slices(self, file: str, size: int) -> Iterator[tuple[int, pl.DataFrame]]:
        columns = [plain(file, column, _open) for column in self.text_columns]
        rows = slice_rows(file, size) if _suffix(file) == "parquet" else size
        for start in range(0, size, rows):
            frame = _open(file).slice(start, rows).select(columns)
            yield start, _collect(frame, f"{file}, near row {start} (counted from 0)")

    def _checked(self, frame: pl.DataFrame, place: int) -> pl.DataFrame:
        for column in self.text_columns:
            missing = frame[column].is_null().arg_true()
            if len(missing):
                where = self._at(column, place + int(missing[0]))
                raise DataError(f"{where}: there is no text; write one or remove the row")
        return frame

    def _at(self, column: str, row: int) -> str:
        source = int(self.rows[row])
        file = int(np.searchsorted(np.cumsum(self.sizes), source, side="right"))
        source -= sum(self.sizes[:file])
        return f"{self.files[file]}, column '{column}', row {source} (counted from 0)"


def open_text(params: PrepareParameters, layout: TextLayout = TextLayout()) -> Source[TextReader]:
    """Open the splits that the parameters name, or that the layout does where they are null.

    Raises
    ------
    ParameterError
        If the source or a split's name cannot be one.
    DataError
        If files or columns are missing, damaged or of another type.
    """
    texts = params.text_columns or layout.text_columns
    label = params.label_column or layout.label_column

    there = SplitFiles(str(params.source), SUFFIXES)

    def split(name: str, key: str) -> TextReader:
        files = there.find(name, key)
        for file in files:
            _check_columns(file, texts, label)
        found = [_read_labels(file, label) for file in files]
        labels = _joined(files, found)
        kept = np.arange(len(labels))
        if layout.unlabelled is not None and labels.dtype.is_integer():
            kept = kept[(labels != layout.unlabelled).fill_null(True).to_numpy()]
        if not len(kept):
            raise DataError(
                f"{some(files)}: no labelled rows; the split needs at least one; set prepare.{key}"
            )
        sizes = tuple(len(labels) for labels in found)
        return TextReader(files, sizes, texts, label, kept, labels[kept])

    source = open_splits(params, there.__contains__, split)
    first = source.train.files[0]
    named = class_names(metadata_of(first), label) if _suffix(first) == "parquet" else None
    return replace(source, class_names=named)


def _suffix(file: str) -> str:
    return file.rpartition(".")[2].lower()


def _open(file: str) -> pl.LazyFrame:
    """Open one file."""
    suffix = _suffix(file)
    if suffix == "parquet":
        return scan(file)
    return LINES[suffix](file)


def _collect(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    try:
        return frame.collect()
    except UNREADABLE as error:
        raise _unreadable(where, error) from None


def _unreadable(where: str, error: BaseException) -> DataError:
    reason = str(error).strip().partition("\n")[0]
    hint = " (in CSV, texts that hold commas need quotes)" if where.endswith(".csv") else ""
    return DataError(f"{where}: cannot be read ({reason}); correct the file{hint}")


def _check_columns(file: str, texts: Sequence[str], label: str) -> None:
    try:
        schema = _open(file).collect_schema()
    except UNREADABLE as error:
        raise _unreadable(file, error) from None
    for column, key in (*((text, "text_columns") for text in texts), (label, "label_column")):
        if column not in schema:
            raise DataError(
                f"{file}: no column '{column}'; its columns: {some(list(schema))}; "
                f"set prepare.{key}"
            )
        if _suffix(file) == "csv" and f"{column}_duplicated_0" in schema:  # as Polars renames it
            raise DataError(f"{file}: more than one column '{column}'; rename or drop all but one")
    for column in texts:
        if not isinstance(schema[column], pl.String | pl.Categorical | pl.Enum):
            raise DataError(
                f"{file}: column '{column}' holds {schema[column]}, not texts; "
                "set prepare.text_columns"
            )


def _read_labels(file: str, column: str) -> pl.Series:
    """Read the label column of one file; in CSV, what are all numbers are numbers."""
    labels = _collect(_open(file).select(plain(file, column, _open)), file)[column]
    if _suffix(file) != "csv" or labels.is_empty():
        return labels
    for pattern, kind in ((WHOLE_NUMBER, pl.Int64), (NUMBER, pl.Float64)):
        if labels.drop_nulls().str.contains(pattern).all():
            return labels.cast(kind, strict=False)
    _reject_odd_words(file, labels)
    return labels


def _reject_odd_words(file: str, labels: pl.Series) -> None:
    """Raise for a word where nine in ten labels or more are whole numbers: it is a slip."""
    words = ~labels.str.contains(WHOLE_NUMBER).fill_null(True)
    if words.sum() <= len(labels) / 10:
        row = int(words.arg_true()[0])
        raise DataError(
            f"{file}, column '{labels.name}', row {row} (counted from 0): the label is "
            f"{labels[row]!r:.40}, nearly all others are whole numbers; correct it"
        )


def _joined(files: Sequence[str], found: Sequence[pl.Series]) -> pl.Series:
    for file, labels in zip(files, found, strict=True):
        if (labels.dtype == pl.String) != (found[0].dtype == pl.String):
            raise DataError(
                f"{file}: labels are {labels.dtype}, those of {files[0]} {found[0].dtype}; "
                "use one type"
            )
    return pl.concat([labels.to_frame() for labels in found], how="vertical_relaxed").to_series()


SNLI = DatasetSpec(
    open=partial(open_text, layout=TextLayout(("premise", "hypothesis"), unlabelled=-1)),
    sources="a folder of Parquet files, or hf://datasets/stanfordnlp/snli",
    classes=("entailment", "neutral", "contradiction"),
    kind="text",
)

TEXT = DatasetSpec(
    open=open_text,
    sources="a folder with train and test as Parquet, CSV or JSON lines, or "
    "hf://datasets/OWNER/NAME",
    kind="text",
)
