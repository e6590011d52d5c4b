"""A data set in a few sentences: how hard it is, which examples were chosen, which were dropped."""

import statistics
from collections.abc import Sequence

import polars as pl

from crest.analysis.comparison import percent
from crest.analysis.difficulty import MOST_MISLABELLED, mislabelled
from crest.analysis.suspects import Suspects
from crest.artifacts import NEVER

OFTEN = 3  # times forgotten from which an example counts as hard
MANY_TIMES = 3  # its share of the data, from which a class is too often among the suspects


def profile(difficulty: pl.DataFrame, classes: Sequence[str]) -> list[str]:
    """Say what the 'difficulty' table says; ``classes`` are the names of the labels.

    A sentence whose numbers are not there, such as of selections where nothing was selected, is
    left out.
    """
    seen = difficulty.filter(pl.col("seen") > 0)
    if seen.is_empty():
        return []
    return [
        _learned(seen),
        *_by_class(seen, classes),
        _suspects(difficulty, classes),
        *_selected(difficulty),
        *_dropped(difficulty),
    ]


def _learned(seen: pl.DataFrame) -> str:
    if seen["forgotten"].null_count():
        times = seen["seen"].to_list()
        return (
            f"{len(seen):,} examples were trained on, from {min(times):,} to {max(times):,} "
            f"times, {statistics.fmean(times):.1f} on average; what was right was not reported."
        )
    learned = seen.filter(pl.col("first_learned") != NEVER)
    kept = len(learned.filter(pl.col("forgotten") == 0))
    often = len(learned.filter(pl.col("forgotten") >= OFTEN))
    never = len(seen) - len(learned)
    return (
        f"Of the {len(seen):,} examples that were scored, {_of(kept, seen)} were learned and never "
        f"forgotten, {_of(often, seen)} were forgotten {OFTEN} times or more, and "
        f"{_of(never, seen)} were never classified rightly."
    )


def _by_class(seen: pl.DataFrame, classes: Sequence[str]) -> list[str]:
    """Name the hardest and the easiest classes, where there are enough to tell apart."""
    means = seen.group_by("label").agg(pl.col("mean_loss").mean()).sort("mean_loss", "label")
    if len(means) < 3:
        return []
    named = [(_name(label, classes), loss) for label, loss in means.rows()]
    hard = ", ".join(f"{name} ({loss:.2f})" for name, loss in named[: -min(4, len(named)) : -1])
    easy, least = named[0]
    return [f"The hardest classes by mean loss are {hard}; the easiest is {easy} ({least:.2f})."]


def _suspects(difficulty: pl.DataFrame, classes: Sequence[str]) -> str:
    """Say how many labels are wrong, which are listed, and of which class too many are."""
    ranked = mislabelled(difficulty)
    top = ranked.head(MOST_MISLABELLED)
    losses = top["mean_loss"]
    sentences = (
        f"{Suspects.of(difficulty)} Listed below are the {len(top):,} highest mean losses, from "
        f"{losses[0]:.2f} down to {losses[-1]:.2f}; the median is "
        f"{statistics.median(ranked['mean_loss']):.2f}."
    )
    often, usual = _shares(top), _shares(ranked)
    label = max(often, key=lambda label: often[label] / usual[label])
    count = round(often[label] * len(top))
    if count >= OFTEN and often[label] > MANY_TIMES * usual[label]:
        sentences += (
            f" Of these, {count:,} are labelled {_name(label, classes)}, a class of "
            f"{percent(usual[label])} of the data: a rare class is learned late, and ranks high "
            "even where its labels are right."
        )
    return sentences


def _shares(rows: pl.DataFrame) -> dict[int, float]:
    """Return each label's share of some examples."""
    counts = rows["label"].value_counts(name="times").sort("label").rows()
    return {label: times / len(rows) for label, times in counts}


def _selected(difficulty: pl.DataFrame) -> list[str]:
    times = difficulty["selected"].cast(pl.Int64).sort(descending=True)
    if not times.sum():
        return []
    half = int((times.cum_sum() < times.sum() / 2).sum()) + 1
    never = int((times == 0).sum())
    sentences = (
        f"Half of all {times.sum():,} picks into mini-batch coresets went to "
        f"{_of(half, difficulty)} of the examples, and {_of(never, difficulty)} were never picked."
    )
    ever = _mean_selected(difficulty.filter(pl.col("forgotten") > 0))
    good = _mean_selected(
        difficulty.filter(pl.col("forgotten") == 0, pl.col("first_learned") != NEVER)
    )
    if ever is not None and good is not None:
        sentences += (
            f" What was ever forgotten was picked {ever:.1f} times on average, what was learned "
            f"for good {good:.1f} times."
        )
    return [sentences]


def _mean_selected(difficulty: pl.DataFrame) -> float | None:
    if difficulty.is_empty():
        return None
    return float(difficulty["selected"].cast(pl.Int64).sum()) / len(difficulty)


def _dropped(difficulty: pl.DataFrame) -> list[str]:
    gone = difficulty.filter(pl.col("excluded_at") != NEVER)
    if gone.is_empty():
        return []
    half = gone["excluded_at"].sort()[(len(gone) - 1) // 2]
    return [
        f"{_of(len(gone), difficulty)} of the examples were dropped as learned, half of them by "
        f"step {half:,}."
    ]


def _of(count: int, whole: pl.DataFrame) -> str:
    """Write a count and its share."""
    return f"{count:,} ({percent(count / len(whole))})" if count else "none"


def _name(label: int, classes: Sequence[str]) -> str:
    return classes[label] if 0 <= label < len(classes) else str(label)
