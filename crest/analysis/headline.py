"""The first sentence of a report: what was compared, who is ahead, and whether chance would do."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from crest.analysis.comparison import is_within_chance, percent

LEVEL = 0.0005  # a difference of accuracies that rounds to 0.0 points


def headline(summary: pl.DataFrame, seeds: pl.DataFrame, test_examples: int) -> str:
    """Say it of the methods that were run at less than full training.

    The one that is ahead is held against random, or where it is random, or random was not run,
    against the next. Over seeds it is said of means and of paired differences, else of single runs.

    Parameters
    ----------
    summary
        From :func:`crest.analysis.comparison.summarise`.
    seeds
        From :func:`crest.analysis.seeds.over_seeds`; empty for single runs.
    test_examples
        Size of the test split.
    """
    runs = [row for row in summary.iter_rows(named=True) if not row["reused"]]
    full = next((row for row in runs if row["method"] == "full"), None)
    others = [row for row in runs if row["method"] != "full"]
    if not others:
        return "" if full is None else f"Full training alone was run: {percent(full['accuracy'])}."
    means = {row["method"]: row for row in seeds.iter_rows(named=True)}
    known = [{**row, **_mean(means.get(row["method"]))} for row in others]
    ordered = sorted(known, key=lambda row: -row["accuracy"])
    reached = f" Full training reached {percent(full['accuracy'])}." if full else ""
    if len(ordered) == 1:
        only = ordered[0]
        return f"{only['method']} reached {percent(only['accuracy'])}{_at(ordered)}.{reached}"
    leader = ordered[0]
    other = _opponent(ordered)
    start = f"Of {_listed([row['method'] for row in others])}{_at(ordered)}, "
    ahead = leader["accuracy"] - other["accuracy"]
    if ahead < LEVEL:
        level = [row["method"] for row in ordered if leader["accuracy"] - row["accuracy"] < LEVEL]
        return f"{start}{_listed(level)} are level at {percent(leader['accuracy'])}.{reached}"
    return (
        f"{start}{leader['method']} is ahead with {percent(leader['accuracy'])}, "
        f"{100 * ahead:.1f} points above {other['method']}: "
        f"{_chance(leader, other, means, test_examples)}.{reached}"
    )


def _mean(row: Mapping[str, Any] | None) -> dict[str, float]:
    return {} if row is None else {"accuracy": row["accuracy"]}


def _opponent(ordered: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    random = next((row for row in ordered if row["method"] == "random"), None)
    return ordered[1] if random is None or random is ordered[0] else random


def _at(rows: Sequence[Mapping[str, Any]]) -> str:
    shares = {percent(row["budget"]) for row in rows}
    return f" at {shares.pop()} of full training's steps" if len(shares) == 1 else ""


def _chance(
    leader: Mapping[str, Any],
    other: Mapping[str, Any],
    means: Mapping[str, Mapping[str, Any]],
    test_examples: int,
) -> str:
    """Say whether the difference can be told from chance, by as many runs as there are."""
    paired = means.get(other["method"] if leader["method"] == "random" else leader["method"], {})
    if "random" in (leader["method"], other["method"]) and paired.get("is_clear") is not None:
        over = f"over {paired['pairs']} seeds"
        if paired["is_clear"]:
            return f"{over} that is not by chance (95%)"
        return f"{over} chance may account for that (95%)"
    if is_within_chance(leader, other, test_examples):
        return f"{test_examples:,} test examples cannot tell that from chance"
    return (
        "more than chance among the test examples (two standard errors), but not tried with "
        "further seeds"
    )


def _listed(names: Sequence[str]) -> str:
    """Write names as a list in a sentence."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
