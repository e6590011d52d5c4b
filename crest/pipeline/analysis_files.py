"""The tables of an analysis as files: written, and read again."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from crest import artifacts
from crest.analysis.runs import ANALYSIS_TABLES, Analysis
from crest.data.origins import columns_in
from crest.errors import ArtifactError
from crest.pipeline import manifest

AGAIN = "make it again with `python cli.py analyze`"


def write_analysis(folder: Path, analysis: Analysis) -> None:
    """Write the tables of an analysis."""
    table = analysis.difficulty
    artifacts.write_table(folder / artifacts.DIFFICULTY, table, more=columns_in(table))
    for name in ANALYSIS_TABLES:
        getattr(analysis, name).write_csv(folder / f"{name}.csv")


def read_analysis(folder: Path) -> Analysis:
    """Read what :func:`write_analysis` wrote.

    Raises
    ------
    ArtifactError
        If a file is missing, damaged, or not as it was written.
    """
    difficulty = artifacts.read_table(folder / artifacts.DIFFICULTY)
    names = [field.name for field in fields(Analysis) if field.name in ANALYSIS_TABLES]
    tables = {
        name: read_csv(folder / f"{name}.csv", ANALYSIS_TABLES[name], AGAIN) for name in names
    }
    sealed = manifest.read(folder, AGAIN)
    sealed.verify(artifacts.DIFFICULTY, *(f"{name}.csv" for name in names))
    return Analysis(difficulty, **tables)


def read_csv(path: Path, kinds: Mapping[str, Any], again: str) -> pl.DataFrame:
    """Read a CSV with exactly the columns ``kinds``.

    ``again`` says how to make the file, in the :class:`ArtifactError` of one that is missing or
    damaged.
    """
    try:
        table = pl.read_csv(path, schema_overrides=dict(kinds), glob=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; {again}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ArtifactError(f"{path}: damaged ({reason}); {again}") from None
    if table.columns != list(kinds):
        raise ArtifactError(f"{path}: columns {table.columns}, expected {list(kinds)}; {again}")
    return table
