"""Texts and labels in Parquet, CSV or JSON: one or two text columns and a label column.

The files are laid out as in :mod:`crest.data.parquet`, and read a piece at a time; what is in the
lines of CSV and JSON may be gzipped. In every format white space around a label is no part of it,
and a blank cell is one without a text or label.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crest.data.class_names import Naming, class_names, translated
from crest.data.delimited import Delimited
from crest.data.json_rows import JsonRows
from crest.data.label_types import joined, plain_labels
from crest.data.origins import rows_of
from crest.data.parquet import metadata_of
from crest.data.parquet_texts import ParquetTexts
from crest.data.sources import DatasetSpec, Source, some
from crest.data.split_files import SplitFiles
from crest.data.split_names import open_splits
from crest.data.text_format import TextFormat, changed
from crest.errors import DataError
from crest.parameters.sections import PrepareParameters

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

    def places(self) -> pl.DataFrame:
        """Return the file of each row, and its row there."""
        return rows_of([*zip(self.files, self.sizes, strict=True)])[self.rows]

    def label_at(self, row: int) -> str:
        """File, column and row within the file."""
        return self._at(self.label_column, row)

    def text_at(self, row: int) -> str:
        """File, first text column and row within the file."""
        return self._at(self.text_columns[0], row)

    def _checked(self, frame: pl.DataFrame, place: int) -> pl.DataFrame:
        for column in self.text_columns:
            # As of labels: a column whose name looks like a pattern has no methods.
            blank = frame[column].alias("text").str.strip_chars().fill_null("") == ""
            missing = blank.arg_true()
            if len(missing):
                where = self._at(column, place + int(missing[0]))
                raise DataError(f"{where}: there is no text; write one or remove the row")
        return frame

    def _at(self, column: str, row: int) -> str:
        source = int(self.rows[row])
        file = int(np.searchsorted(np.cumsum(self.sizes), source, side="right"))
        source -= sum(self.sizes[:file])
        return _place(self.files[file], column, source)


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
    label = layout.label_column if params.label_column is None else params.label_column

    there = SplitFiles(str(params.source), SUFFIXES, partial(_choose, texts=texts, label=label))
    naming = Naming()

    def split(name: str, key: str) -> TextReader:
        files = there.find(name, key)
        read = {file: _format(file).labels(file, texts, label) for file in files}
        described = [file for file in files if _suffix(file) not in LINES and len(read[file])]
        names = {file: class_names(metadata_of(file), label, file) for file in described}
        naming.read(name, names)
        found = []
        for file, labels in read.items():
            place = partial(_place, file, label)
            plain = plain_labels(labels, place)
            found.append(translated(plain, names.get(file), naming.classes, place))
        labels = joined(found, lambda row: _place_in(files, found, label, row))
        kept = np.arange(len(labels))
        if layout.unlabelled is not None and labels.dtype.is_integer():
            kept = kept[(labels != layout.unlabelled).fill_null(True).to_numpy()]
        if not len(kept):
            raise DataError(
                f"{some(files)}: no labelled rows; the split needs at least one; set prepare.{key}"
            )
        sizes = tuple(len(labels) for labels in found)
        return TextReader(files, sizes, texts, label, kept, labels[kept])

    source = open_splits(params, there, split, is_remote=there.is_remote)
    notes = (*source.notes, *there.notes, *naming.notes)
    return replace(source, class_names=naming.classes, notes=notes)


def _choose(
    formats: Sequence[Sequence[str]], texts: Sequence[str], label: str
) -> tuple[int, str] | None:
    """Choose the format that has the columns, or the first of several that hold the same rows."""
    try:
        fitting = [
            number
            for number, files in enumerate(formats)
            if {*texts, label}.issubset(_format(files[0]).columns(files[0]))
        ]
        if len({_content(formats[number], texts, label) for number in fitting}) != 1:
            return None
    except DataError:  # of a file that cannot be read nobody knows what it holds
        return None
    why = ["the same rows"] if len(fitting) > 1 else []
    if len(fitting) < len(formats):
        why.insert(0, f"no columns {', '.join([*texts, label])}")
    return fitting[0], " or ".join(why)


def _content(files: Sequence[str], texts: Sequence[str], label: str) -> str:
    """Return a hash of the rows of some files."""
    digest = hashlib.sha256()
    for file in files:
        labels = _format(file).labels(file, texts, label)
        rows = (
            row
            for frame in _format(file).texts(file, texts, len(labels))
            for row in frame.iter_rows()
        )
        for row, value in zip(rows, labels, strict=True):
            digest.update(f"{row!r} {value!s}\n".encode())
    return digest.hexdigest()


def _place(file: str, column: str, row: int) -> str:
    """Name the place of a row of a file."""
    return f"{file}, column '{column}', {_format(file).at(file, row)}"


def _place_in(files: Sequence[str], found: Sequence[pl.Series], column: str, row: int) -> str:
    """Name the place of a row of several files' labels."""
    ends = np.cumsum([len(labels) for labels in found])
    file = int(np.searchsorted(ends, row, side="right"))
    return _place(files[file], column, row - int(ends[file]) + len(found[file]))


def _suffix(file: str) -> str:
    return file.lower().removesuffix(".gz").rpartition(".")[2]


def _format(file: str) -> TextFormat:
    return FORMATS[_suffix(file)]


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
