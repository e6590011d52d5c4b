"""Runs with several seeds: means, deviations, and differences of runs with the same seed."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import polars as pl

from crest.analysis.comparison import percent, seconds

# One row a method.
SEEDS: Mapping[str, Any] = {
    "method": pl.String,
    "seeds": pl.Int64,  # that it was run with
    "accuracy": pl.Float64,  # mean
    "deviation": pl.Float64,  # of the accuracies, with n - 1
    "seconds": pl.Float64,  # mean
    "pairs": pl.Int64,  # seeds that random was run with as well; 0 for random itself
    "difference": pl.Float64,  # mean of accuracy - random's of the same seed; null without pairs
    "error": pl.Float64,  # standard error of that mean; null with fewer than two pairs
    "is_clear": pl.Boolean,  # whether 0 lies outside its 95% interval; null without error
}
# A standard error of differences that are all the same, which tell nothing of chance.
SAME = 1e-9
# Quantiles of Student's t at 0.975, by degrees of freedom from 1; beyond, the last is too wide by
# less than 5%.
T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160),
    *(2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056),
    *(2.052, 2.048, 2.045, 2.042),
)


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Bring runs together by method; none where no method was run with two seeds.

    Parameters
    ----------
    rows
        A mapping a run: method, seed, accuracy and seconds, methods in the order wanted.

    Returns
    -------
    pl.DataFrame
        The columns of :data:`SEEDS`. Differences are of runs with the same seed: both had the same
        initial weights, whose share of the chance they do not have.
    """
    by_method: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        by_method.setdefault(row["method"], {})[row["seed"]] = row
    if all(len(runs) < 2 for runs in by_method.values()):
        return pl.DataFrame(schema=dict(SEEDS))
    random = by_method.get("random", {})
    found = [_row(method, runs, random) for method, runs in by_method.items()]
    return pl.DataFrame(found, schema=dict(SEEDS))


def _row(
    method: str, runs: Mapping[int, Mapping[str, Any]], random: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    accuracies = [run["accuracy"] for run in runs.values()]
    shared = [] if method == "random" else [seed for seed in runs if seed in random]
    differences = [runs[seed]["accuracy"] - random[seed]["accuracy"] for seed in shared]
    mean = fmean(differences) if differences else None
    error = stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else None
    return {
        "method": method,
        "seeds": len(runs),
        "accuracy": fmean(accuracies),
        "deviation": stdev(accuracies) if len(accuracies) > 1 else None,
        "seconds": fmean(run["seconds"] for run in runs.values()),
        "pairs": len(differences),
        "difference": mean,
        "error": error,
        "is_clear": None
        if mean is None or error is None or error < SAME
        else abs(mean) > T[min(len(differences) - 1, len(T)) - 1] * error,
    }


def verdict(row: Mapping[str, Any]) -> str | None:
    """Say how a method stands against random over seeds.

    None with fewer than two pairs, and of full, which takes more steps.
    """
    if row["error"] is None or row["method"] == "full":
        return None
    difference = f"{100 * abs(row['difference']):.2f} ± {100 * row['error']:.2f} points"
    direction = "more" if row["difference"] > 0 else "less"
    stands = f"{difference} {direction} accurate than"
    if difference.startswith("0.00 "):
        stands = f"as accurate, within {difference}, as"
    certainty = (
        "which is not by chance (95%)" if row["is_clear"] else "which chance may account for (95%)"
    )
    return (
        f"Over {row['pairs']} seeds, {row['method']} is {stands} random mini-batches with the same "
        f"seeds (mean and standard error of the differences), {certainty}."
    )


def seed_cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row as people read it, under :data:`HEADS`."""
    return [
        row["method"],
        str(row["seeds"]),
        percent(row["accuracy"], 2),
        percent(row["deviation"], 2),
        points(row["difference"], row["error"]),
        seconds(row["seconds"]),
    ]


HEADS = ("Method", "Seeds", "Mean accuracy", "Deviation", "Against random, points", "Mean seconds")


def points(difference: float | None, error: float | None) -> str:
    """Write a difference of accuracies in points, with its standard error; a dash for none."""
    if difference is None:
        return "–"
    margin = "" if error is None else f" ± {100 * error:.2f}"
    return f"{100 * difference:+.2f}{margin}"


def format_seeds(table: pl.DataFrame) -> str:
    """Return the table as aligned plain text for a terminal, without a final newline."""
    lines = [[*HEADS], *(seed_cells(row) for row in table.iter_rows(named=True))]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
