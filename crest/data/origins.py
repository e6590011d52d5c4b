"""Back to the source: the file that each prepared example came from, and its row there.

``SPLIT_sources.parquet`` has a row for each example of a split, in order: ``file`` (String, as
``prepare.source`` leads to it) and ``row`` (Int64, counted from 0 within the file; null where the
file holds one example). Data prepared before there were such files have none.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from crest.data.files import SPLITS, damaged, read_meta
from crest.data.split_files import UNREADABLE
from crest.data.verifying import file_hash
from crest.errors import ArtifactError, ParameterError, not_one_of

SCHEMA: dict[str, type[pl.DataType]] = {"file": pl.String, "row": pl.Int64}


@dataclass(frozen=True)
class Origin:
    """Where an example came from; ``row`` is None where the file holds nothing else."""

    file: str
    row: int | None

    def __str__(self) -> str:
        """Say it as messages do."""
        return self.file if self.row is None else f"{self.file}, row {self.row} (counted from 0)"


def rows_of(files: list[tuple[str, int]]) -> pl.DataFrame:
    """Return the places of all rows of files, each given with how many it has."""
    parts = [
        pl.select(file=pl.repeat(encodable(file), rows, dtype=pl.String), row=pl.int_range(rows))
        for file, rows in files
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)


def encodable(text: str) -> str:
    """Return a text that can be written as UTF-8: names of files may hold other bytes."""
    return text.encode(errors="backslashreplace").decode()


def sources_file(folder: Path, split: str) -> Path:
    """Where a split's sources are."""
    return folder / f"{split}_sources.parquet"


def sources_of(folder: Path, split: str) -> pl.DataFrame | None:
    """Return where all examples of a split came from; None where the folder does not say.

    Raises
    ------
    ArtifactError
        If the file is damaged.
    """
    path = sources_file(folder, split)
    expected = read_meta(folder).source_hashes.get(split)
    if expected is None:
        return None
    if file_hash(path) != expected:
        raise damaged(path, "it is other than when it was written")
    try:
        return pl.read_parquet(path, glob=False)
    except UNREADABLE as error:
        raise damaged(path, str(error).strip().partition("\n")[0]) from None


def with_sources(table: pl.DataFrame, folder: Path | None, split: str = "train") -> pl.DataFrame:
    """Put where examples came from at the end of a table: its columns ``file`` and ``row``.

    Parameters
    ----------
    table
        Any with a column ``index``, of rows of the prepared split. One that has the columns keeps
        its own, which were read when it was made.
    folder
        The prepared data. None, or of data that do not say: the table is left as it is.

    Raises
    ------
    ArtifactError
        If the sources are missing or damaged.
    """
    if folder is None or columns_in(table):
        return table
    found = sources_of(folder, split)
    return table if found is None else table.with_columns(found[table["index"]])


def columns_in(table: pl.DataFrame) -> dict[str, type[pl.DataType]]:
    """Return those of the two columns that a table has, with their types."""
    return {name: kind for name, kind in SCHEMA.items() if name in table.columns}


def source_of(folder: Path, split: str, index: int) -> Origin:
    """Return where an example of prepared data came from.

    Parameters
    ----------
    folder
        The prepared data.
    index
        Row in the prepared split, as in every table of a run.

    Raises
    ------
    ParameterError
        If there is no such example.
    ArtifactError
        If the sources are missing or damaged.
    """
    if split not in SPLITS:
        raise ParameterError(f"split: {not_one_of(split, SPLITS)}")
    found = sources_of(folder, split)
    if found is None:
        raise ArtifactError(
            f"{sources_file(folder, split)}: no such file; run `python cli.py prepare` again, "
            "which keeps where examples came from"
        )
    if not 0 <= index < len(found):
        raise ParameterError(f"index: {index} is none of the {len(found)} examples of {split}")
    file, row = found.row(index)
    return Origin(file, row)
