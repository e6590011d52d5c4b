"""What runs left behind, brought together into the tables that the pictures are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from crest.analysis.difficulty import (
    class_balance,
    difficulty_table,
    overall_score,
    score_by_window,
    selected_by_score,
    window_of,
)
from crest.analysis.draws import times_drawn
from crest.artifacts import TABLES

# One entry a table: column -> type. Long format, with the method as a column to colour by.
ANALYSIS_TABLES: Mapping[str, Mapping[str, Any]] = {
    "curves": {
        "method": pl.String,
        "split": pl.String,  # train (means over windows of steps) or validation
        "step": pl.Int64,  # training steps taken
        "seconds": pl.Float64,
        "examples": pl.Int64,  # trained on so far
        "loss": pl.Float64,
        "accuracy": pl.Float64,
    },
    "regions": {"method": pl.String, "updates": pl.Int64, **TABLES["regions"]},
    "score_by_window": {
        "method": pl.String,
        "step": pl.Int64,
        "score": pl.Float64,
        "mean_over": pl.String,  # window, or training: one value for the whole run
    },
    "selected_by_score": {
        "method": pl.String,
        "score": pl.Int64,  # lowest of the group; null for never learned
        "group": pl.String,
        "examples": pl.Int64,
        "selected": pl.Float64,  # mean times
        "trained": pl.Float64,  # mean times
        "excluded": pl.Float64,  # share
    },
    "class_balance": {
        "method": pl.String,
        "region": pl.Int64,
        "step": pl.Int64,
        "label": pl.Int64,
        "name": pl.String,
        "share": pl.Float64,
        "weighted_share": pl.Float64,
        "data_share": pl.Float64,
    },
    "times_drawn": {
        "method": pl.String,
        "by": pl.String,  # class, or difficulty: tenths by mean loss
        "place": pl.Int64,  # label, or tenth from 0, the easiest
        "name": pl.String,  # of the class, or the range of the losses
        "examples": pl.Int64,
        "times": pl.Float64,  # mean times that one was trained on
        "relative": pl.Float64,  # that over the mean of all examples
    },
    "gradient_errors": {
        "method": pl.String,
        "step": pl.Int64,  # training steps taken
        "group": pl.String,  # kind of mini-batch
        "examples": pl.Int64,  # that its gradient is of
        "bias": pl.Float64,  # ‖E[g_S] - g‖ / ‖g‖; null where g is lost in noise
        "error": pl.Float64,  # root of E‖g_S - g‖², over ‖g‖
        "variance": pl.Float64,  # E‖g_S - E[g_S]‖²
        "gradient_norm": pl.Float64,  # ‖g‖, of all data
    },
    "dropped_accuracy": {
        "method": pl.String,
        "step": pl.Int64,  # training steps taken
        "group": pl.String,  # dropped, or still drawn from
        "examples": pl.Int64,
        "accuracy": pl.Float64,
    },
}


MOST_CLASSES = 1000  # whose shares are followed one by one
OTHERS = -1  # the label of all others together


@dataclass(frozen=True)
class Run:
    """The tables of one training run; ``regions`` and ``coresets`` only where it selected."""

    method: str
    steps: pl.DataFrame
    examples: pl.DataFrame
    validation: pl.DataFrame
    regions: pl.DataFrame | None = None
    coresets: pl.DataFrame | None = None


@dataclass(frozen=True)
class Analysis:
    """The 'difficulty' table and every table of :data:`ANALYSIS_TABLES`, some maybe empty."""

    difficulty: pl.DataFrame
    curves: pl.DataFrame
    regions: pl.DataFrame
    score_by_window: pl.DataFrame
    selected_by_score: pl.DataFrame
    class_balance: pl.DataFrame
    times_drawn: pl.DataFrame
    gradient_errors: pl.DataFrame
    dropped_accuracy: pl.DataFrame


def analyse(runs: Sequence[Run], scores_from: str, classes: Sequence[str]) -> Analysis:
    """Bring runs on the same data together.

    Parameters
    ----------
    runs
        At least one, each of another method.
    scores_from
        Method of the run whose training pass gives the forgetting scores.
    classes
        Name of each label.

    Returns
    -------
    Analysis
        ``difficulty`` counts the selections of crest, or of the first selecting run where crest
        was not run; without one its counts are 0 and the selection tables are empty. So are
        ``gradient_errors`` and ``dropped_accuracy``, which take models, not tables, to fill.
    """
    scoring = next(run.examples for run in runs if run.method == scores_from)
    selecting = [run for run in runs if run.coresets is not None]
    tables = {
        run.method: difficulty_table(scoring, run.coresets, run.examples) for run in selecting
    }
    unselected = difficulty_table(scoring)
    span = max((len(run.steps) for run in selecting), default=None)
    chosen = "crest" if "crest" in tables else next(iter(tables), None)
    return Analysis(
        difficulty=unselected if chosen is None else tables[chosen],
        curves=_stack("curves", [training_curve(run) for run in runs] + _validations(runs)),
        regions=_stack("regions", [_numbered_regions(run) for run in selecting]),
        score_by_window=_stack("score_by_window", [_scores(unselected, run, span) for run in runs]),
        selected_by_score=_stack(
            "selected_by_score",
            [_named(selected_by_score(tables[run.method]), run.method) for run in selecting],
        ),
        class_balance=_stack("class_balance", [_balance(run, classes) for run in selecting]),
        times_drawn=_stack(
            "times_drawn",
            [_named(times_drawn(unselected, run.examples, classes), run.method) for run in runs],
        ),
        gradient_errors=_stack("gradient_errors", []),
        dropped_accuracy=_stack("dropped_accuracy", []),
    )


def training_curve(run: Run, windows: int = 100) -> pl.DataFrame:
    """Loss and accuracy of the training steps, as means over at most ``windows`` windows.

    Step, seconds and examples are those at the end of the window; rows of the 'curves' table.
    """
    window = window_of(pl.int_range(pl.len()), pl.len(), windows)
    curve = (
        run.steps.group_by(window=window)
        .agg(
            pl.col("step", "seconds", "examples").max(),
            pl.col("loss", "accuracy").mean(),
        )
        .sort("step")
        .with_columns(pl.col("step") + 1, split=pl.lit("train"))
    )
    return _named(curve, run.method)


def validation_curve(run: Run) -> pl.DataFrame:
    """Return the validation points of a run as rows of the 'curves' table."""
    trained = run.steps.select(pl.col("step") + 1, "examples").sort("step")
    curve = run.validation.sort("step").join_asof(trained, on="step")
    return _named(
        curve.with_columns(pl.col("examples").fill_null(0), split=pl.lit("validation")), run.method
    )


def _validations(runs: Sequence[Run]) -> list[pl.DataFrame]:
    return [validation_curve(run) for run in runs]


def _numbered_regions(run: Run) -> pl.DataFrame:
    assert run.regions is not None
    regions = run.regions.sort("region").with_row_index("updates", offset=1)
    return _named(regions, run.method)


def _scores(difficulty: pl.DataFrame, run: Run, span: int | None) -> pl.DataFrame:
    """Score over training: by window where the mini-batches are known, else its overall mean.

    The mean is one number; it is drawn over the ``span`` of steps of the runs it is compared with.
    """
    if run.coresets is not None:
        windows = score_by_window(difficulty, run.steps, run.coresets)
        return _named(windows.with_columns(mean_over=pl.lit("window")), run.method)
    mean = overall_score(difficulty, run.examples)
    ends = {"step": [0, span or len(run.steps)], "score": [mean] * 2, "mean_over": ["training"] * 2}
    return _named(pl.DataFrame(ends), run.method)


def _balance(run: Run, classes: Sequence[str], most: int = MOST_CLASSES) -> pl.DataFrame:
    """Shares of each class; those beyond the ``most`` frequent are taken together."""
    assert run.coresets is not None
    assert run.regions is not None
    labels = run.examples.filter(pl.col("pass") == "training").select("label")
    counts = labels["label"].value_counts(sort=False, name="examples")
    frequent = counts.sort("examples", "label", descending=[True, False]).head(most)["label"]
    label = pl.col("label")
    merged = pl.when(label.is_in(frequent.implode())).then(label).otherwise(OTHERS).alias("label")
    balance = class_balance(
        run.coresets.with_columns(merged), run.regions, labels.with_columns(merged)
    )
    others = f"the {len(counts) - len(frequent):,} other classes"
    names = pl.DataFrame(
        {"label": [OTHERS, *range(len(classes))], "name": [others, *classes]},
        schema={"label": pl.Int64, "name": pl.String},
    )
    return _named(balance.join(names, on="label", how="left", maintain_order="left"), run.method)


def _named(table: pl.DataFrame, method: str) -> pl.DataFrame:
    return table.with_columns(method=pl.lit(method))


def _stack(name: str, tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put tables below each other, with exactly the columns and types of ``name``."""
    kinds = ANALYSIS_TABLES[name]
    columns = [pl.col(column).cast(kind) for column, kind in kinds.items()]
    return pl.concat([pl.DataFrame(schema=kinds), *(table.select(columns) for table in tables)])
