"""Texts and labels in Parquet files, read a slice of rows at a time."""

from collections.abc import Iterator, Sequence

import polars as pl

from crest.data.parquet import collect, plain, row_count, scan, slice_rows, unreadable
from crest.data.split_files import UNREADABLE
from crest.data.text_format import keys_of, no_column, place, without_blanks
from crest.errors import DataError


class ParquetTexts:
    """Parquet files of texts, or of categories of them."""

    def columns(self, file: str) -> list[str]:
        """Name the columns."""
        try:
            return list(scan(file).collect_schema())
        except UNREADABLE as error:
            unreadable(file, error)

    def labels(self, file: str, texts: Sequence[str], label: str) -> pl.Series:
        """Read the label column, and check the types of the text columns.

        Raises
        ------
        DataError
            If the file is damaged, or a column is missing or holds something else than texts.
        """
        keys = keys_of(texts, label)
        if not row_count(file):
            return pl.Series("label", [], pl.Null)
        try:
            schema = scan(file).collect_schema()
        except UNREADABLE as error:
            unreadable(file, error)
        for column in keys:
            if column not in schema:
                raise no_column(file, column, list(schema), keys)
        for column in texts:
            if not isinstance(schema[column], pl.String | pl.Categorical | pl.Enum):
                raise DataError(
                    f"{file}: column '{column}' holds {schema[column]}, not texts; "
                    "set prepare.text_columns"
                )
        labels = collect(scan(file).select(plain(file, label)), file).to_series()
        return without_blanks(labels.alias("label"))

    def texts(self, file: str, texts: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
        """Yield the text columns, a slice of rows at a time."""
        columns = [plain(file, column) for column in texts]
        rows = slice_rows(file, size) if size else 1
        for start in range(0, size, rows):
            frame = scan(file).slice(start, rows).select(columns)
            yield collect(frame, f"{file}, near row {start} (counted from 0)")

    def at(self, file: str, row: int) -> str:
        """Name a row."""
        return place(row)
