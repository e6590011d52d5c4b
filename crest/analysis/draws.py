"""What each method trained on: how often its examples were drawn, by class and by difficulty."""

from collections.abc import Sequence

import polars as pl

from crest.analysis.difficulty import training_pass, window_of

TENTHS = 10
KINDS = ("class", "difficulty")


def times_drawn(
    difficulty: pl.DataFrame, examples: pl.DataFrame, classes: Sequence[str]
) -> pl.DataFrame:
    """Return how often a method drew the examples of each class, and of each tenth by difficulty.

    Parameters
    ----------
    difficulty
        'difficulty' table, whose mean losses put the examples into tenths; what was never scored is
        in none.
    examples
        'examples' table of the method's run.
    classes
        Name of each label.

    Returns
    -------
    pl.DataFrame
        ``by`` (class, or difficulty), ``place`` (label, or tenth from 0, the easiest), ``name``
        (of the class, or the range of the mean losses), ``examples``, ``times`` (mean times that
        one was trained on) and ``relative`` (that over the mean of all examples; null where the
        method trained on none).
    """
    drawn = training_pass(examples).select("index", times="seen")
    joined = difficulty.select("index", "label", "mean_loss").join(drawn, on="index", how="left")
    joined = joined.with_columns(pl.col("times").fill_null(0).cast(pl.Float64))
    mean = joined["times"].mean() or None
    groups = [_by_class(joined, classes), _by_difficulty(joined)]
    return pl.concat(
        _times(group).with_columns(by=pl.lit(kind), relative=pl.col("times") / pl.lit(mean))
        for kind, group in zip(KINDS, groups, strict=True)
    ).select("by", "place", "name", "examples", "times", "relative")


def _by_class(joined: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    names = pl.DataFrame(
        {"label": range(len(classes)), "name": classes}, schema={"label": pl.Int64, "name": str}
    )
    named = joined.join(names, on="label", how="left")
    return named.with_columns(place=pl.col("label"), name=pl.col("name").fill_null("?"))


def _by_difficulty(joined: pl.DataFrame) -> pl.DataFrame:
    scored = joined.drop_nulls("mean_loss").sort("mean_loss", "index")
    tenth = scored.with_columns(place=window_of(pl.int_range(pl.len()), pl.len(), TENTHS))
    ranges = tenth.group_by("place").agg(
        low=pl.col("mean_loss").min(), high=pl.col("mean_loss").max()
    )
    names = [f"{low:.2g} to {high:.2g}" for low, high in ranges.select("low", "high").rows()]
    named = ranges.select("place").with_columns(name=pl.Series(names, dtype=pl.String))
    return tenth.join(named, on="place", how="left")


def _times(grouped: pl.DataFrame) -> pl.DataFrame:
    return (
        grouped.group_by("place", "name")
        .agg(examples=pl.len().cast(pl.Int64), times=pl.col("times").mean())
        .select(pl.col("place").cast(pl.Int64), "name", "examples", "times")
        .sort("place")
    )
