"""mislabelled: whose labels are likely wrong, by an analysis or by what training recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from crest import artifacts
from crest.analysis.difficulty import mislabelled
from crest.analysis.suspects import Suspects
from crest.analysis.wrong_labels import together
from crest.data.files import read_meta
from crest.data.origins import with_sources
from crest.errors import ArtifactError, ParameterError
from crest.files.csv_cells import formula_note
from crest.pipeline.paths import Paths
from crest.pipeline.recorded import is_of_other_data, meta_of, read_difficulty
from crest.pipeline.texts import ranked, with_texts

# Of the inputs, and of a run where there is one; what is known of neither comes last.
LIKELIEST = (-pl.col("wrong_label"), -pl.col("mean_loss"), pl.col("label_probability"), "index")
NONE_BY_INPUTS = (
    "By the inputs no label is wrong, or they tell too little; what follows is by the run. "
)


@dataclass(frozen=True)
class Found:
    """Rows that are likely mislabelled, likeliest first, and what can be said of all of them."""

    rows: pl.DataFrame
    summary: str


def run(
    sources: Sequence[Path],
    paths: Paths,
    prepared: Path | None,
    most: int | None,
    inputs: bool = False,
) -> Found:
    """Rank the examples by how likely their labels are wrong.

    Parameters
    ----------
    sources
        Folders with difficulty.parquet or examples.parquet, or such files; of several runs those
        of examples.parquet, which count together. None: the project's last analysis.
    prepared
        Folder of prepared data, for the names of classes and where examples came from. None: the
        project's for its own analysis, else numbers.
    inputs
        Whether the prepared inputs are judged as well, by :mod:`crest.label_noise`; where there is
        no analysis yet, or one of other data, alone.
    most
        Most rows. None: those that are more likely wrong than right, of none as many as are wrong
        by estimate; of none of these, or where nothing is known,
        :data:`~crest.analysis.difficulty.MOST_MISLABELLED`.

    Raises
    ------
    ArtifactError
        If a table or the data are missing, damaged, or not of each other.
    """
    own = not sources
    if own and prepared is None and (inputs or paths.prepared.is_dir()):
        prepared = paths.prepared
    if inputs and prepared is None:
        raise ParameterError(
            "mislabelled: --inputs needs --prepared, the data that the runs are of"
        )
    alone = _alone(paths.analyze, prepared) if own and inputs and prepared else None
    table, meta = None, None
    if alone is None:
        sources = [paths.analyze] if own else sources
        table = read_difficulty(sources)
        meta = None if prepared is None else meta_of(prepared, len(table), sources)
    start = alone or ""
    if inputs:
        assert prepared is not None
        meta = meta or read_meta(prepared)
        trained = table is not None
        table, share = _by_inputs(table, prepared)
        start += NONE_BY_INPUTS if trained and not share else ""
    assert table is not None
    suspects = Suspects.of(table)
    order = table.sort(*LIKELIEST, nulls_last=True) if inputs else mislabelled(table)
    most = suspects.listed if most is None else most
    rows = ranked(with_sources(order, prepared), meta, most=most)
    listed = with_texts(rows, meta, prepared)
    return Found(listed, f"{start}{suspects}{_formulas(listed, rows.columns)}")


def _formulas(rows: pl.DataFrame, known: Sequence[str]) -> str:
    """Say where a spreadsheet would take a text for a formula; nothing where it would not."""
    texts = rows.drop(known)
    note = formula_note("texts", (text for name in texts.columns for text in texts[name]))
    return "" if note is None else f" In a CSV, {note}."


def _alone(analyze: Path, prepared: Path) -> str | None:
    """Say why inputs are judged without an analysis; None where there is one of these data."""
    if not (analyze / artifacts.DIFFICULTY).is_file():
        return ""
    if is_of_other_data(analyze, read_meta(prepared)):
        return f"{analyze} is of other data and does not count. "
    return None


def _by_inputs(table: pl.DataFrame | None, prepared: Path) -> tuple[pl.DataFrame, float]:
    """Return a 'difficulty' table in which the inputs count for wrong_label, and their share.

    Of None they count alone. ``label_probability`` is theirs, the share that of noise.

    Raises
    ------
    ParameterError
        If the inputs are of a kind that tells nothing.
    """
    import torch

    from crest.data.prepared import load
    from crest.devices.generators import generator_for
    from crest.label_noise import noise_of

    data = load(prepared, torch.device("cpu"))
    data.require_whole()
    labels = data.train.labels
    alone = table is None
    table = _untrained(pl.Series(labels.numpy())) if table is None else table
    if not table["label"].cast(pl.Int64).eq(pl.Series(labels.numpy())).all():
        raise ArtifactError(
            f"{prepared}: other labels than the table has; give --prepared the data that it is of"
        )
    noise = noise_of(data.train, len(data.meta.classes), generator_for(0, "label noise"))
    if noise is None:
        raise ParameterError(f"mislabelled: --inputs: {prepared}: neither images nor texts")
    other = torch.where(noise.predicted == labels, artifacts.NEVER, noise.predicted)
    named = pl.Series("named", other.to(torch.int32).numpy())
    by_inputs = pl.Series((1.0 - noise.quality.double()).numpy())
    found = table.with_columns(
        taken_for=pl.when(pl.col("seen") == 0).then(named).otherwise("taken_for"),
        wrong_label=by_inputs if alone else together(table["wrong_label"], by_inputs),
        label_probability=pl.Series(noise.label_probability.numpy()),
    )
    return found, noise.share


def _untrained(labels: pl.Series) -> pl.DataFrame:
    """Return a 'difficulty' table of examples that no run has seen."""
    known = {"index": pl.int_range(len(labels), eager=True), "label": labels, "seen": 0}
    kinds = artifacts.TABLES["difficulty"]
    return pl.DataFrame(known).select(
        pl.col(name).cast(kind) if name in known else pl.lit(None, kind).alias(name)
        for name, kind in kinds.items()
    )
