"""What every format of texts has in common: how it is read, and what its cells and rows mean."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import polars as pl

from crest.data.sources import some
from crest.errors import DataError


class TextFormat(Protocol):
    """A format of files of rows; rows are counted from 0 within a file."""

    def columns(self, file: str) -> list[str]:
        """Name the columns, as far as the file's beginning tells."""
        ...

    def labels(self, file: str, texts: Sequence[str], label: str) -> pl.Series:
        """Read the label column and check that the text columns are there."""
        ...

    def texts(self, file: str, texts: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
        """Yield the text columns as strings, a piece of the ``size`` rows at a time."""
        ...

    def at(self, file: str, row: int) -> str:
        """Name the place of a row within its file."""
        ...


def place(row: int, line: int | None = None, last: int | None = None) -> str:
    """Name a row, and the lines that it takes."""
    named = f"row {row} (counted from 0)"
    if line is None:
        return named
    return f"{named}, line {line}" if last in (None, line) else f"{named}, lines {line} to {last}"


def without_blanks(cells: pl.Series) -> pl.Series:
    """Take white space off both ends of strings; what is left empty is null, as a cell of none."""
    if cells.dtype != pl.String:
        return cells
    # A name that looks like a pattern is one for the methods of a series, which find nothing then.
    stripped = cells.alias("").str.strip_chars()
    return stripped.set(stripped == "", None).alias(cells.name)


TEXTS = "text_columns"  # the parameter that names columns of texts, where nothing else is said


def keys_of(texts: Sequence[str], label: str | None = None, key: str = TEXTS) -> dict[str, str]:
    """Which parameter names each column; ``key`` is that of the texts."""
    named = dict.fromkeys(texts, key)
    return named if label is None else named | {label: "label_column"}


def no_column(file: str, column: str, there: Sequence[str], keys: Mapping[str, str]) -> DataError:
    """Return the error of a column that a file does not have."""
    listed = some([f"{name:.40}" for name in there])
    return DataError(
        f"{file}: no column '{column}'; its columns: {listed}; set prepare.{keys[column]}"
    )


def changed(file: str) -> DataError:
    """Return the error of a file that changed between two readings."""
    return DataError(f"{file}: changed while it was read; start again")
