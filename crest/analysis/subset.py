"""A part of the examples by a score: the tenth that training forgot most often, say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from crest.artifacts import NEVER
from crest.errors import ParameterError, not_one_of

_seen = pl.col("seen") > 0
_never_learned = pl.col("first_learned") == NEVER
_forever = pl.lit(float("inf"))

# What each score is by the columns of 'difficulty'; null where it is not known. What a run never
# saw right was hardest of all, and could not be forgotten: Toneva et al., ICLR 2019, count it
# as forgotten without end.
SCORES: Mapping[str, pl.Expr] = {
    "forgotten": pl.when(_never_learned).then(_forever).otherwise("forgotten"),
    "mean_loss": pl.col("mean_loss"),
    "el2n": pl.col("el2n"),
    "wrong_label": pl.col("wrong_label"),
    "first_learned": pl.when(_never_learned).then(_forever).otherwise("first_learned"),
    "correct": pl.col("correct"),
    "seen": pl.col("seen"),
    "selected": pl.col("selected"),
    "trained": pl.col("trained"),
}
# How the highest are named, and the lowest.
WORDS: Mapping[str, tuple[str, str]] = {
    "forgotten": ("forgotten most often, or never right", "forgotten least often"),
    "mean_loss": ("with the highest mean loss", "with the lowest mean loss"),
    "el2n": ("with the highest EL2N", "with the lowest EL2N"),
    "wrong_label": ("whose labels are likeliest wrong", "whose labels are likeliest right"),
    "first_learned": ("learned last, or never", "learned first"),
    "correct": ("right most often", "right least often"),
    "seen": ("seen most often", "seen least often"),
    "selected": ("selected most often", "selected least often"),
    "trained": ("trained on most often", "trained on least often"),
}
OF_THE_SEEN = ("forgotten", "first_learned", "correct")


@dataclass(frozen=True)
class Part:
    """Examples that are kept, and the others, each best first.

    Where the line falls among ``level`` of equal scores, ``taken`` of them are kept, by mean loss;
    where among ``tied`` that are equal in it too, ``drawn`` of these by chance. Else all are 0.
    """

    kept: pl.DataFrame
    others: pl.DataFrame
    taken: int
    level: int
    drawn: int
    tied: int


def part_of(
    difficulty: pl.DataFrame,
    by: str,
    size: Callable[[int], int],
    *,
    lowest: bool = False,
    per_class: bool = False,
    seed: int = 0,
) -> Part:
    """Take the examples whose score is highest, or lowest; of equal ones by mean loss.

    What is equal in both is drawn by chance.

    Parameters
    ----------
    difficulty
        'difficulty' table.
    by
        A name of :data:`SCORES`.
    size
        Of a number of examples, how many are kept.
    per_class
        Whether as large a share of every class is kept, rounded so that the sum is right.
    seed
        Draws among the examples that are equal where the line falls.

    Raises
    ------
    ParameterError
        If there is no such score, or more are to be kept than have it.
    """
    if by not in SCORES:
        raise ParameterError(f"keep: --by: {not_one_of(by, SCORES)}")
    scored = _scored(difficulty, by, lowest, seed)
    total = size(len(scored))
    group = pl.col("label") if per_class else pl.lit(0)
    counts = _counts(scored["label"], total) if per_class else {0: total}
    wanted = group.replace_strict(counts, return_dtype=pl.Int64)
    scored = scored.with_columns(place=pl.int_range(pl.len()).over(group), wanted=wanted)
    scored = scored.with_columns(chosen=pl.col("place") < pl.col("wanted"), group=group)
    unknown = scored.filter(pl.col("chosen") & pl.col("score").is_null())
    if len(unknown):
        known = scored["score"].count()
        raise ParameterError(
            f"keep: --by {by}: {known:,} of {len(scored):,} examples have it, "
            f"{total - len(unknown):,} of those can be kept; lower --share or --count"
        )
    taken, level = _ties(scored, "score")
    drawn, tied = _ties(scored, "score", "mean_loss")
    ordered = scored.sort("score", "index", descending=[not lowest, False], nulls_last=True)
    columns = difficulty.columns
    return Part(
        ordered.filter("chosen").select(columns),
        ordered.filter(~pl.col("chosen")).select(columns),
        taken,
        level,
        drawn,
        tied,
    )


def _scored(difficulty: pl.DataFrame, by: str, lowest: bool, seed: int) -> pl.DataFrame:
    """Add ``score``, and put the rows in order, equal ones in one by chance."""
    chance = np.random.default_rng(seed).permutation(len(difficulty))
    score = SCORES[by].cast(pl.Float64)
    if by in OF_THE_SEEN:
        score = pl.when(_seen).then(score)
    return difficulty.with_columns(score=score, chance=pl.Series(chance)).sort(
        "score",
        "mean_loss",
        "chance",
        descending=[not lowest, hard_first(by, lowest), False],
        nulls_last=True,
    )


def hard_first(by: str, lowest: bool) -> bool:
    """Whether of equal scores those of the highest mean losses are taken first, or the lowest."""
    return lowest if by == "correct" else not lowest


def _counts(labels: pl.Series, total: int) -> dict[int, int]:
    """Share a number out among classes by their sizes, by the largest remainders."""
    sizes = labels.value_counts(name="size").sort("label")
    exact = sizes["size"].to_numpy() * total / len(labels)
    counts = np.floor(exact).astype(int)
    largest = np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]
    counts[largest] += 1
    return dict(zip(sizes["label"].to_list(), counts.tolist(), strict=True))


def _ties(scored: pl.DataFrame, *names: str) -> tuple[int, int]:
    """Return how many are kept of how many that are equal, where the line falls between such."""
    values = pl.struct(*names)
    edge = scored.filter(pl.col("chosen")).group_by("group").agg(edge=values.last())
    equal = scored.join(edge, on="group").filter(
        values == pl.col("edge"), pl.col("score").is_not_null()
    )
    split = equal.filter(~pl.col("chosen").all().over("group"))
    return int(split["chosen"].sum()), len(split)
