"""Why some pictures of a run look wrong and are not, where they look so."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from crest.artifacts import NEVER

MOST = 0.5  # share of the regions from which one speaks of them all
MEDOIDS = ("facility_location", "medoids")


def farther_than_random(errors: pl.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """Explain coresets that are farther from the full gradient than random mini-batches.

    Parameters
    ----------
    errors
        Table 'gradient_errors'; of each group the last row counts.
    settings
        Section crest of the run's parameters.

    Returns
    -------
    list[str]
        A sentence or two; none where coresets are nearer, or it is not known.
    """
    last = {row["group"]: row for row in errors.drop_nulls("error").iter_rows(named=True)}
    coreset, random = last.get("mini-batch coreset"), last.get("random mini-batch")
    if coreset is None or random is None or coreset["error"] <= random["error"]:
        return []
    text = (
        f"At step {coreset['step']:,} a coreset is farther from the full gradient than a random "
        f"mini-batch: {coreset['error']:.2f} of its norm against {random['error']:.2f}. "
    )
    return [text + _reason(coreset["bias"], settings)]


def _reason(bias: float | None, settings: Mapping[str, Any]) -> str:
    by = "" if bias is None else f" (bias {bias:.2f})"
    focus = settings.get("focus")
    if isinstance(focus, Mapping) and focus.get("exponent") and not focus.get("weights"):
        return (
            "crest.focus has it so on purpose: what is not learned yet is drawn more often, which "
            f"leads away from the mean of all data{by}, and such examples have longer gradients, "
            "which differ more. What is gained is that training sees more of them, not a nearer "
            "gradient."
        )
    if settings.get("choice") in MEDOIDS:
        return (
            f"Medoids err in one direction{by}, which no averaging removes, and of unequal weights "
            "a mini-batch is worth fewer examples than it has. choice: spatially_stratified has "
            "neither."
        )
    return (
        f"Examples that were dropped as learned count in it and are no longer drawn{by}; else what "
        "is left is the noise of the draws that it was measured by (analyze.gradient_draws)."
    )


def ends_above_threshold(
    regions: pl.DataFrame, threshold: float, subset: int, losses: pl.Series
) -> list[str]:
    """Explain that ρ of every region lies above τ, and what then decides how long regions last.

    Parameters
    ----------
    regions
        Table 'regions' of crest. What training ended is not counted.
    threshold
        τ.
    subset
        r, the examples whose mean loss a check measures.
    losses
        Losses of single examples under the trained model.
    """
    ended = regions.sort("region").head(-1).drop_nulls("rho")
    if len(ended) < 2 or not ended["rho"].gt(threshold).all():
        return []
    first = int(ended["checks"].eq(1).sum())
    text = (
        f"Every region ends above τ = {threshold:g}, for what is drawn is the check that ended it; "
        "those that it passed are not."
    )
    if first < MOST * len(ended):
        return [text]
    text += (
        f" {first:,} of {len(ended):,} ended at their first check: how long they last is T1's "
        "doing, not τ's."
    )
    error = _sampling_error(losses, subset)
    if error > threshold:
        text += (
            f" Much of ρ is sampling: the mean loss of r = {subset:,} examples errs by {error:.0%} "
            "by itself (one standard error, of the trained model's test losses)."
        )
    return [text]


def _sampling_error(losses: pl.Series, subset: int) -> float:
    """Relative standard error of the mean of so many of the losses."""
    mean, deviation = losses.mean(), losses.std()
    if not isinstance(mean, float) or not isinstance(deviation, float) or mean <= 0:
        return 0.0
    return float(deviation / mean / subset**0.5)


def throughout(regions: pl.DataFrame) -> list[str]:
    """Say what had one value in all regions of a method, of which there is no picture."""
    names = {"check_interval": "T1", "minibatches": "P"}
    sentences = []
    checked = regions.filter(pl.col("rho").is_not_null().any().over("method"))
    for (method,), rows in checked.group_by("method", maintain_order=True):
        values = {
            name: rows[column].drop_nulls().unique().to_list() for column, name in names.items()
        }
        same = [
            f"{name} = {found[0]}"
            for name, found in values.items()
            if len(found) == 1 and found[0] != NEVER
        ]
        if same:
            sentences.append(f"In all {len(rows):,} regions of {method}: {', '.join(same)}.")
    return sentences
