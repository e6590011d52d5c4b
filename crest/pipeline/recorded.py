"""What is recorded of each example, found for a command and written as it asks."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from crest import artifacts
from crest.analysis.difficulty import difficulty_table, training_pass
from crest.analysis.wrong_labels import pooled
from crest.data.files import Meta, read_meta
from crest.errors import ArtifactError, ParameterError
from crest.pipeline import manifest

FORMATS = (".csv", ".parquet")


def read_difficulty(sources: Sequence[Path]) -> pl.DataFrame:
    """Return the 'difficulty' table of folders or files that have one, or what it is made of.

    Of several runs on the same data the tables of examples count together.

    Raises
    ------
    ArtifactError
        If a table is missing, damaged, or of other data than the rest.
    """
    files = [_file(source) for source in sources]
    if len(files) == 1 and artifacts.table_name(files[0]) == "difficulty":
        return artifacts.read_table(files[0], "difficulty")
    columns = list(artifacts.TABLES["examples"])
    tables = [
        training_pass(artifacts.read_table(file, "examples")).select(columns) for file in files
    ]
    for file, table in zip(files, tables, strict=True):
        if not table.select("index", "label").equals(tables[0].select("index", "label")):
            raise ArtifactError(
                f"{file}: other examples or labels than {files[0]}; name runs on the same data"
            )
    return difficulty_table(pooled(tables))


def _file(source: Path) -> Path:
    if source.is_file():
        return source
    for name in (artifacts.DIFFICULTY, artifacts.EXAMPLES):
        if (source / name).is_file():
            return source / name
    raise ArtifactError(
        f"{source}: neither {artifacts.DIFFICULTY} nor {artifacts.EXAMPLES} is there; run "
        "`python cli.py analyze`, or name a folder that LossBatchSampler.save wrote or a "
        "training run"
    )


def is_of_other_data(source: Path, meta: Meta) -> bool:
    """Whether a folder or a file of results says that it is of other data; False if it is silent.

    Raises
    ------
    ArtifactError
        If the manifest beside it is damaged.
    """
    folder = source.parent if source.is_file() else source
    if not (folder / artifacts.MANIFEST).is_file():
        return False
    return manifest.read(folder, "make the folder again").data != meta.content_hash


def meta_of(prepared: Path, count: int, sources: Sequence[Path] = ()) -> Meta:
    """Read what prepared data are, of which ``count`` are for training.

    Raises
    ------
    ArtifactError
        If they are missing or damaged, as many are not, or one of ``sources``, which the examples
        were read from, says that it is of other data.
    """
    meta = read_meta(prepared)
    for source in sources:
        if is_of_other_data(source, meta):
            raise ArtifactError(
                f"{source}: of other data than {prepared} holds now; run `python cli.py train`, "
                "then `python cli.py analyze`, or give --prepared the data that it is of"
            )
    if meta.sizes["train"] != count:
        raise ArtifactError(
            f"{prepared}: {meta.sizes['train']:,} examples in its training split, and {count:,} in "
            "the table; give --prepared the data that it is of"
        )
    return meta


def check_format(command: str, out: Path) -> None:
    """Refuse a file of another format.

    Raises
    ------
    ParameterError
        If its name ends otherwise than those of :data:`FORMATS`.
    """
    if out.suffix not in FORMATS:
        raise ParameterError(f"{command}: --out {out}: name a file {' or '.join(FORMATS)}")


def write_rows(rows: pl.DataFrame, out: Path) -> None:
    """Write the rows as CSV or Parquet, by the name of the file.

    Raises
    ------
    ArtifactError
        If it cannot be written.
    """
    with artifacts.replacing(out) as temporary:
        if out.suffix == ".csv":
            rows.write_csv(temporary)
        else:
            rows.write_parquet(temporary)
