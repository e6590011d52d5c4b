"""What each method cost and what it gained: the summary, in numbers, in a table and in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from crest.errors import printable

# One row a method, and one a model reused on saved coresets (method 'replay').
SUMMARY: Mapping[str, Any] = {
    "method": pl.String,
    "model": pl.String,
    "reused": pl.Boolean,  # trained by the stage reuse
    "outdated": pl.Boolean,  # trained on saved coresets of a run that was made anew since
    "accuracy": pl.Float64,  # on the test split
    "relative_error": pl.Float64,  # (full's - this) / full's accuracy; null without full of it
    "loss": pl.Float64,
    "budget": pl.Float64,  # share of full training's steps
    "steps": pl.Int64,
    "examples_trained": pl.Int64,
    "seconds": pl.Float64,  # of training, selection included
    "speedup": pl.Float64,  # full's seconds / this; null without full of this model, or other load
    "updates": pl.Int64,  # regions; 0 for methods without
    "seconds_select": pl.Float64,  # null for methods that do not select
    "seconds_model": pl.Float64,
    "seconds_check": pl.Float64,
    "seconds_label_noise": pl.Float64,  # null for methods that do not estimate it
    "seconds_train": pl.Float64,
}
DERIVED = ("relative_error", "speedup")
# Times by which steps of the same work may differ before their seconds are of different load.
SAME_LOAD = 1.3


def summarise(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the summary of runs, with what only shows against full training filled in.

    Parameters
    ----------
    rows
        One mapping a run with every column of :data:`SUMMARY` but the derived ones.

    Returns
    -------
    pl.DataFrame
        The columns of :data:`SUMMARY`, in the order of ``rows``. Only runs of the model that full
        training used are measured against it.
    """
    full = next((row for row in rows if row["method"] == "full" and not row["reused"]), None)
    complete = [{**row, **_against(row, full)} for row in rows]
    return pl.DataFrame(complete, schema=dict(SUMMARY))


def _against(row: Mapping[str, Any], full: Mapping[str, Any] | None) -> dict[str, float | None]:
    if full is None or row["model"] != full["model"]:
        return dict.fromkeys(DERIVED)
    difference = full["accuracy"] - row["accuracy"]
    return {
        "relative_error": difference / full["accuracy"] if full["accuracy"] else None,
        "speedup": _speedup(row, full),
    }


def _speedup(row: Mapping[str, Any], full: Mapping[str, Any]) -> float | None:
    known = row["seconds"] and not _is_other_load(row, full)
    return full["seconds"] / row["seconds"] if known else None


def _is_other_load(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether steps of the same model and batch size, choosing apart, took others' times.

    A stage restored from a cache, or run beside other work, has seconds of another machine's state.
    """
    if row["model"] != other["model"] or not (row["steps"] and other["steps"]):
        return False
    sizes = [one["examples_trained"] / one["steps"] for one in (row, other)]
    if max(sizes) > 1.05 * min(sizes):  # an epoch's last batch may be short
        return False
    steps = [one["seconds_train"] / one["steps"] for one in (row, other) if one["seconds_train"]]
    return len(steps) == 2 and max(steps) > SAME_LOAD * min(steps)


def run_name(row: Mapping[str, Any]) -> str:
    """Name a row of the summary: its method, or the model that was reused."""
    name = f"reuse: {row['model']}" if row["reused"] else str(row["method"])
    return f"{name} (outdated)" if row["outdated"] else name


def format_table(summary: pl.DataFrame) -> str:
    """Return the summary as aligned plain text for a terminal, without a final newline."""
    heads = ["method", "model", "accuracy", "relative error", "steps", "seconds", "speed-up"]
    lines = [heads, *([*_cells(row)] for row in summary.iter_rows(named=True))]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    name = f"{row['method']} (reuse)" if row["reused"] else row["method"]
    if row["outdated"]:
        name += " (outdated)"
    return [
        printable(name),
        printable(row["model"]),
        percent(row["accuracy"], 2),
        signed(row["relative_error"]),
        f"{row['steps']:,}",
        seconds(row["seconds"]),
        "–" if row["speedup"] is None else f"{row['speedup']:.2f}×",
    ]


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as a percentage; a dash for none."""
    return "–" if share is None else f"{share:.{digits}%}"


def signed(share: float | None) -> str:
    """Write a relative error as a percentage with its sign; a dash for none."""
    return "–" if share is None else f"{share:+.2%}" if round(share, 4) else "0.00%"


def seconds(value: float | None) -> str:
    """Write seconds with about three figures; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def findings(
    summary: pl.DataFrame, test_examples: int, against: Sequence[str] | None = None
) -> list[str]:
    """Say in plain sentences what the numbers say.

    Parameters
    ----------
    summary
        From :func:`summarise`.
    test_examples
        Size of the test split.
    against
        What is said of methods against random, where more runs tell it than those of ``summary``.
    """
    rows = [row for row in summary.iter_rows(named=True) if not row["reused"]]
    full = next((row for row in rows if row["method"] == "full"), None)
    return [
        *(_cost_and_gain(row, full) for row in rows if row is not full),
        *(against_random(summary, test_examples) if against is None else against),
    ]


def cautions(
    summary: pl.DataFrame, seeds: Sequence[int], test_examples: int, is_repeated: bool = False
) -> list[str]:
    """Say how much the numbers can bear.

    Parameters
    ----------
    summary, test_examples
        As of :func:`findings`.
    seeds
        The seeds of the runs, each once.
    is_repeated
        Whether there are runs with further seeds, of which that is said.
    """
    rows = [row for row in summary.iter_rows(named=True) if not row["reused"]]
    outdated = [_outdated(row) for row in summary.iter_rows(named=True) if row["outdated"]]
    return outdated if is_repeated else [*outdated, _caution(rows, seeds, test_examples)]


def against_random(summary: pl.DataFrame, test_examples: int) -> list[str]:
    """Say of each method how it stands against random, and whether chance would do as well.

    Arguments as of :func:`findings`; nothing where random was not run.
    """
    rows = [row for row in summary.iter_rows(named=True) if not row["reused"]]
    random = next((row for row in rows if row["method"] == "random"), None)
    if random is None:
        return []
    others = [row for row in rows if row["method"] not in ("random", "full")]
    return [_against_random(row, random, test_examples) for row in others]


def _outdated(row: Mapping[str, Any]) -> str:
    return (
        f"{run_name(row)}: trained on the coresets of a run that was made anew since. It says what "
        "those were worth, not what the present ones are."
    )


def _cost_and_gain(row: Mapping[str, Any], full: Mapping[str, Any] | None) -> str:
    start = (
        f"{row['method']} classified {percent(row['accuracy'])} of the test set rightly, after "
        f"{row['steps']:,} steps ({percent(row['budget'])} of full training's) and "
        f"{seconds(row['seconds'])} s."
    )
    if full is None or row["model"] != full["model"]:
        return start + " Full training was not run, so nothing is measured against it."
    return (
        f"{start} Full training reached {percent(full['accuracy'])} in {seconds(full['seconds'])} "
        f"s: {row['method']} is {_points(row, full)}{_took(row, full)}."
    )


def _against_random(row: Mapping[str, Any], random: Mapping[str, Any], test_examples: int) -> str:
    steps = "as many" if row["steps"] == random["steps"] else f"{random['steps']:,}"
    verdict = (
        f"Against random mini-batches for {steps} steps, {row['method']} is "
        f"{_points(row, random)}{_took(row, random)}."
    )
    if is_within_chance(row, random, test_examples):
        verdict += " The test split is too small to tell that difference from chance."
    return verdict


def is_within_chance(row: Mapping[str, Any], other: Mapping[str, Any], test_examples: int) -> bool:
    """Whether two accuracies differ by less than two standard errors of the test split's draw."""
    error = (_variance(row, test_examples) + _variance(other, test_examples)) ** 0.5
    return abs(row["accuracy"] - other["accuracy"]) < 2 * error


def _variance(row: Mapping[str, Any], test_examples: int) -> float:
    """Binomial variance of an accuracy, the only part of its uncertainty that one run shows."""
    return float(row["accuracy"] * (1 - row["accuracy"]) / max(test_examples, 1))


def _points(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Compare accuracies: '1.2 points less accurate'."""
    difference = 100 * (row["accuracy"] - other["accuracy"])
    if abs(difference) < 0.05:
        return "equally accurate (within 0.05 points)"
    direction = "more" if difference > 0 else "less"
    return f"{abs(difference):.1f} points {direction} accurate"


def _took(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Compare seconds, or say why they cannot be compared."""
    if not _is_other_load(row, other):
        return f" and took {_times(row, other)}"
    own, others = (f"{1000 * one['seconds_train'] / one['steps']:.3g} ms" for one in (row, other))
    return (
        f"; their seconds were measured at different load: its training steps alone took {own} "
        f"each, {other['method']}'s {others}"
    )


def _times(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Compare seconds: '2.1 times as long' or '0.31 of the time'."""
    if not other["seconds"]:
        return f"{seconds(row['seconds'])} s"
    ratio = row["seconds"] / other["seconds"]
    if ratio >= 1.005:
        return f"{ratio:.3g} times as long" if ratio < 100 else f"{ratio:,.0f} times as long"
    return "just as long" if ratio > 0.995 else f"{ratio:.2g} of the time"


def _caution(rows: Sequence[Mapping[str, Any]], seeds: Sequence[int], test_examples: int) -> str:
    """Say how little one run can prove."""
    drawn = (
        f"Every method was run once, with seed {seeds[0]}"
        if len(seeds) == 1
        else "Each method was run once, not all with the same seed"
    )
    points = 100 * max(_variance(row, test_examples) for row in rows) ** 0.5
    return (
        f"{drawn}: another seed gives other numbers, and small differences may be chance. The "
        f"{test_examples:,} test examples alone leave an accuracy here uncertain by up to about "
        f"±{points:.1f} points (one standard error). Seconds hold for the machine named below."
    )
