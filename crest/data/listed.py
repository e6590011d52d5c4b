"""Images that a file lists: CSV, TSV or JSON with a column of paths and a column of labels.

Paths are relative to the folder of the list, and lead to files within it: a list never makes
anything else be read. A column of splits, if there is one, says which split each row is of.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crest.data.delimited import Delimited
from crest.data.folder import bytes_of, contents_of
from crest.data.json_rows import JsonRows
from crest.data.label_types import plain_labels
from crest.data.origins import encodable
from crest.data.sources import DatasetSpec, Example, Reader, Source, local_file, refuse
from crest.data.split_names import open_splits
from crest.data.text_format import TextFormat, changed, no_column
from crest.errors import DataError
from crest.parameters.sections import PrepareParameters

KEY = "image_column"
FORMATS: Mapping[str, TextFormat] = {
    "csv": Delimited(",", KEY),
    "tsv": Delimited("\t", KEY),
    "json": JsonRows(KEY),
    "jsonl": JsonRows(KEY),
    "ndjson": JsonRows(KEY),
}
LISTS = (*(f".{name}" for name in FORMATS), *(f".{name}.gz" for name in FORMATS))
SPLIT = "split"  # the column of splits where none is named


@dataclass(frozen=True, eq=False)
class ListedReader:
    """A split of listed images; ``rows`` are those of the list, ``values`` their labels."""

    listing: Path
    columns: tuple[str, str]
    rows: NDArray[np.int64]
    files: tuple[Path, ...]
    values: pl.Series

    def __len__(self) -> int:
        return len(self.files)

    def labels(self) -> pl.Series:
        """Labels of the rows."""
        return self.values

    def examples(self) -> Iterator[Sequence[Example]]:
        """Contents of the files."""
        return contents_of(self.files)

    def places(self) -> pl.DataFrame:
        """Return the paths of the images."""
        return pl.DataFrame({"file": [encodable(str(file)) for file in self.files], "row": None})

    def image_bytes(self) -> int:
        """Add up the sizes of the files that are kept."""
        return bytes_of(self.files)

    def label_at(self, row: int) -> str:
        """List, column and row."""
        return _place(self.listing, self.columns[1], int(self.rows[row]))

    def example_at(self, row: int) -> str:
        """List, column and row, and the path that stands there."""
        place = _place(self.listing, self.columns[0], int(self.rows[row]))
        return f"{place}, {self.files[row]}"


def open_listed(params: PrepareParameters) -> Source[Reader]:
    """Open the splits that a list names, or all of it as the training split.

    Raises
    ------
    ParameterError
        If the source cannot be a list.
    DataError
        If the list is not well-formed or lacks a column, or a path leads to no file within the
        list's folder; the message names the row.
    """
    listing = local_file(params.source, LISTS)
    image = "image" if params.image_column is None else params.image_column
    label = "label" if params.label_column is None else params.label_column
    split = _split_column(listing, (image, label), params.split_column)
    texts = (image,) if split is None else (image, split)
    labels = _format(listing).labels(str(listing), texts, label)
    cells = _cells(listing, texts, len(labels))
    whole = ListedReader(
        listing,
        (image, label),
        np.arange(len(labels)),
        _files(listing, image, cells[image]),
        plain_labels(labels, partial(_place, listing, label)),
    )
    notes = [*_duplicates(whole)]
    if split is None:
        refuse(
            params,
            f"{listing} has no column of splits (prepare.split_column)",
            *("train_split", "test_split", "validation_split"),
        )
        return Source(train=whole, test=None, notes=tuple(notes))
    source, left_out = _divided(params, whole, split, cells[split])
    return replace(source, notes=(*source.notes, *left_out, *notes))


def _divided(
    params: PrepareParameters, whole: ListedReader, column: str, names: pl.Series
) -> tuple[Source[Reader], list[str]]:
    """Return the splits that the parameters name, and a note on rows of other splits."""
    missing = names.is_null().arg_true()
    if len(missing):
        where = _place(whole.listing, column, int(missing[0]))
        raise DataError(f"{where}: there is no split; write one or remove the row")
    opened: list[str] = []

    def some(name: str, key: str) -> ListedReader:
        rows = (names == name).arg_true().to_numpy().astype(np.int64)
        if not len(rows):
            there = ", ".join(names.unique().sort().head(10))
            raise DataError(
                f"{whole.listing}, column '{column}': no row of split '{name}'; splits there: "
                f"{there}; set prepare.{key}"
            )
        opened.append(name)
        files = tuple(whole.files[row] for row in rows.tolist())
        return replace(whole, rows=rows, files=files, values=whole.values[rows])

    source: Source[Reader] = open_splits(params, set(names.unique()), some)
    others = names.filter(~names.is_in(opened)).value_counts(sort=True)
    listed = ", ".join(f"{name} ({count})" for name, count in others.head(10).iter_rows())
    note = [f"rows of other splits are not read: {listed}"] if listed else []
    return source, note


def _split_column(listing: Path, needed: Sequence[str], named: str | None) -> str | None:
    """Return the column of splits, if there is one; refuse a list that lacks a column."""
    there = _format(listing).columns(str(listing))
    keys = {needed[0]: KEY, needed[1]: "label_column"}
    keys |= {} if named is None else {named: "split_column"}
    for column in keys:
        if column not in there:
            raise no_column(str(listing), column, there, keys)
    return SPLIT if named is None and SPLIT in there and SPLIT not in needed else named


def _cells(listing: Path, texts: Sequence[str], size: int) -> pl.DataFrame:
    """Return columns of paths and splits; blank cells are null."""
    frames = [*_format(listing).texts(str(listing), texts, size)]
    if sum(map(len, frames)) != size:
        raise changed(str(listing))
    if not size:
        raise DataError(f"{listing}: no rows; it needs one for each image")
    cells = pl.concat(frames)
    stripped = [cells[name].alias("").str.strip_chars() for name in texts]
    blank = [column.set(column == "", None) for column in stripped]
    return pl.DataFrame([column.alias(name) for column, name in zip(blank, texts, strict=True)])


def _files(listing: Path, column: str, paths: pl.Series) -> tuple[Path, ...]:
    """Return the files that the paths of a list lead to."""
    folder, files = listing.parent, []
    for row, text in enumerate(paths):
        if (fault := _fault(folder, text)) is not None:
            raise DataError(f"{_place(listing, column, row)}: {fault}")
        files.append(folder / _inner(folder, str(text)))
    return tuple(files)


def _inner(folder: Path, text: str) -> str:
    """Return a path of a list, from the list's folder on; ".." first where it leads elsewhere."""
    root = folder.absolute()
    return os.path.relpath(root / text, root)


def _fault(folder: Path, text: str | None) -> str | None:
    """Say what is wrong with a path of a list, and what to do."""
    if text is None:
        return "there is no path; write one or remove the row"
    if "://" in text:
        return f"{text:.80} is an address; download the image, and write where it lies"
    if "\0" in text or Path(_inner(folder, text)).parts[:1] == (os.pardir,):
        return (
            f"{text!r:.80} leads out of {folder}; write paths relative to the list's folder, and "
            "put the list into a folder that holds all images"
        )
    path = folder / text
    try:
        if path.is_file():
            return None
        there = path.exists()
    except OSError as error:
        return f"{text:.80} cannot be read ({error.strerror}); mend it"
    if there:
        return f"{text:.80} is no file; write the path of an image"
    return f"no file {text:.80} in {folder}; correct the path or remove the row"


def _duplicates(whole: ListedReader) -> Iterator[str]:
    """Say so where several rows lead to one file."""
    paths = pl.Series("path", [os.path.normpath(file) for file in whole.files])
    again = (~paths.is_first_distinct()).arg_true()
    if len(again):
        first = int(again[0])
        yield (
            f"warning: {len(again)} rows lead to a file that an earlier row leads to (first: "
            f"{whole.example_at(first)}); each counts"
        )


def _place(listing: Path, column: str, row: int) -> str:
    return f"{listing}, column '{column}', {_format(listing).at(str(listing), row)}"


def _format(listing: Path) -> TextFormat:
    return FORMATS[listing.name.lower().removesuffix(".gz").rpartition(".")[2]]


LISTED = DatasetSpec(
    open=open_listed,
    sources="a file that lists images, as CSV, TSV or JSON, with the columns image and label",
)
