"""Texts and labels in Parquet, CSV or JSON: one or two text columns and a label column.

The files are laid out as in :mod:`crest.data.parquet`, and read a piece at a time; what is in the
lines of CSV and JSON may be gzipped. In every format white space around a label is no part of it,
and a blank cell is one without a text or label.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crest.config import PrepareParameters
from crest.data.delimited import Delimited
from crest.data.json_rows import JsonRows
from crest.data.parquet import SplitFiles, class_names, metadata_of
from crest.data.parquet_texts import ParquetTexts
from crest.data.sources import DatasetSpec, Source, some
from crest.data.split_names import open_splits
from crest.data.text_format import TextFormat, changed
from crest.errors import DataError

# The formats by the endings of files' names; those of lines may have .gz after it.
LINES: Mapping[str, TextFormat] = {
    "csv": Delimited(","),
    "tsv": Delimited("\t"),
    "json": JsonRows(),
    "jsonl": JsonRows(),
    "ndjson": JsonRows(),
}
FORMATS: Mapping[str, TextFormat] = {"parquet": ParquetTexts(), **LINES}
SUFFIXES = (*FORMATS, *(f"{name}.gz" for name in LINES))


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
        """Yield the text columns of the rows as strings, in order, a piece at a time."""
        starts = np.cumsum([0, *self.sizes])
        place = 0
        for file, (first, last) in zip(self.files, pairwise(starts), strict=True):
            start = first
            for frame in _format(file).texts(file, self.text_columns, int(last - first)):
                end = start + len(frame)
                taken = self.rows[place : np.searchsorted(self.rows, end)] - start
                if len(taken):
                    yield self._checked(frame[taken], place)
                place += len(taken)
                start = end
            if start != last:
                raise changed(file)

    def label_at(self, row: int) -> str:
        """File, column and row within the file."""
        return self._at(self.label_column, row)

    def text_at(self, row: int) -> str:
        """File, first text column and row within the file."""
        return self._at(self.text_columns[0], row)

    def _checked(self, frame: pl.DataFrame, place: int) -> pl.DataFrame:
        for column in self.text_columns:
            blank = frame[column].str.strip_chars().fill_null("") == ""
            missing = blank.arg_true()
            if len(missing):
                where = self._at(column, place + int(missing[0]))
                raise DataError(f"{where}: there is no text; write one or remove the row")
        return frame

    def _at(self, column: str, row: int) -> str:
        source = int(self.rows[row])
        file = int(np.searchsorted(np.cumsum(self.sizes), source, side="right"))
        source -= sum(self.sizes[:file])
        name = self.files[file]
        return f"{name}, column '{column}', {_format(name).at(name, source)}"


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
        found = [_format(file).labels(file, texts, label) for file in files]
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
    named = class_names(metadata_of(first), label) if _suffix(first) not in LINES else None
    return replace(source, class_names=named)


def _suffix(file: str) -> str:
    return file.lower().removesuffix(".gz").rpartition(".")[2]


def _format(file: str) -> TextFormat:
    return FORMATS[_suffix(file)]


def _joined(files: Sequence[str], found: Sequence[pl.Series]) -> pl.Series:
    """Join the labels of files, which are of one kind in all that have any."""
    some_labels = [
        (file, labels) for file, labels in zip(files, found, strict=True) if labels.count()
    ]
    for file, labels in some_labels:
        first_file, first = some_labels[0]
        if _kind(labels) != _kind(first):
            raise DataError(
                f"{file}: labels are {labels.dtype}, those of {first_file} {first.dtype}; "
                "use one type"
            )
    kinds = [labels.dtype for _, labels in some_labels]
    parts = [labels if labels.count() else _nulls(labels, kinds) for labels in found]
    return pl.concat([labels.to_frame() for labels in parts], how="vertical_relaxed").to_series()


def _kind(labels: pl.Series) -> object:
    """Numbers of any width go together, and nothing else does."""
    return "numbers" if labels.dtype.is_numeric() else labels.dtype


def _nulls(labels: pl.Series, kinds: Sequence[pl.DataType]) -> pl.Series:
    """Labels without any value, as of the type that others have."""
    return pl.Series(labels.name, [None] * len(labels), kinds[0] if kinds else pl.Null)


SNLI = DatasetSpec(
    open=partial(open_text, layout=TextLayout(("premise", "hypothesis"), unlabelled=-1)),
    sources="a folder of Parquet files, or hf://datasets/stanfordnlp/snli",
    classes=("entailment", "neutral", "contradiction"),
    kind="text",
)

TEXT = DatasetSpec(
    open=open_text,
    sources="a folder with train and test as Parquet, CSV, TSV or JSON, or "
    "hf://datasets/OWNER/NAME",
    kind="text",
)
