"""How many labels are wrong, and how likely each is: from one ordinary run, without other models.

The share of wrong labels rests on a control: the probability that the model gives, at the first few
visits of an example, to one other class drawn at random. To a wrong label drawn evenly over the
other classes it gives as much, so that wrong labels are found among the lowest values as often as
controls are. What is found there more seldom than controls is the share at most, as Storey
estimates the share of true null hypotheses (*A direct approach to false discovery rates*, J. R.
Statist. Soc. B 64, 2002). Later visits are left out: by then wrong labels are learned by heart.

How likely an example's label is wrong rests on its mean loss over the whole run, which tells right
from wrong better: its logarithms are a mixture of two normal distributions, of which the share is
known. Losses alone do not tell the share: two normals are found in clean data just as well.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

TAILS = (0.5, 0.4, 0.3, 0.2, 0.1)  # shares of the controls that count as low
LEAST_IN_TAIL = 10  # controls, for a tail to count
LEAST_LOSS = 1e-3  # what is below says nothing
ITERATIONS = 200
TOLERANCE = 1e-6  # of the probabilities' mean change

# Counts of the 'examples' table that add up over runs.
ADDED = ("seen", "correct", "forgotten", "loss_sum")
AVERAGED = ("el2n", "label_probability", "control_probability")

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


def pooled(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the counts of several runs on the same examples as those of one.

    Parameters
    ----------
    tables
        Training passes of 'examples' tables, of the same examples in order.

    Returns
    -------
    pl.DataFrame
        An 'examples' table. Sums are added, means are averaged over the runs that have them; the
        rest, ``taken_for`` among it, is that of the first run.
    """
    if len(tables) == 1:
        return tables[0]
    total = (
        pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum()).alias(name)
        for name in ADDED
    )
    means = (pl.col(name).mean() for name in AVERAGED)
    together = pl.concat(tables).group_by("index").agg(*total, *means)
    first = tables[0]
    return (
        first.drop(*ADDED, *AVERAGED)
        .join(together, on="index", maintain_order="left")
        .select(first.columns)
    )


def wrong_share(examples: pl.DataFrame) -> float | None:
    """Estimate the share of wrong labels, 0 to 1.

    It is too low where wrong labels go to similar classes, which are given more than a class drawn
    at random, and too high where a model is far from having learned what it could.

    Parameters
    ----------
    examples
        ``label_probability`` and ``control_probability`` of the 'examples' table.

    Returns
    -------
    float | None
        None where these are not known of enough examples.
    """
    known = examples.select("label_probability", "control_probability").drop_nulls()
    own, control = (np.sort(known[name].to_numpy()) for name in known.columns)
    tails = [tail for tail in TAILS if tail * len(known) >= LEAST_IN_TAIL]
    if not tails:
        return None
    return min(1.0, *(_excess(own, control, tail) for tail in tails))


def _excess(own: Floats, control: Floats, tail: float) -> float:
    """Return how often labels are as low as the lowest controls, for each time that controls are.

    Both are sorted.
    """
    highest = control[math.ceil(tail * len(control)) - 1]
    low, controls = (np.searchsorted(values, highest, side="right") for values in (own, control))
    return float(low / controls)


def wrong_probabilities(losses: pl.Series, share: float | None) -> pl.Series:
    """Return how likely each label is wrong, 0 to 1; it never falls where the loss rises.

    Parameters
    ----------
    losses
        Mean loss of each example over a run; null for never seen.
    share
        Of wrong labels, of :func:`wrong_share`.

    Returns
    -------
    pl.Series
        float64; null where the loss is, and everywhere where the share is not known.
    """
    unknown = pl.repeat(None, len(losses), dtype=pl.Float64, eager=True)
    if share is None:
        return unknown
    rows = np.flatnonzero(losses.is_not_null().to_numpy())
    logs = np.log(losses.drop_nulls().to_numpy().clip(LEAST_LOSS))
    found = np.full(len(losses), np.nan)
    found[rows] = _of_higher(logs, share)
    return pl.Series(found, nan_to_null=True)


def together(by_run: pl.Series, by_inputs: pl.Series) -> pl.Series:
    """Return how likely each label is wrong by two estimates, each of which knows the share.

    Their odds multiply, and what both have used, the odds of the share, is taken out once: so it is
    of two pieces of evidence that are independent given whether the label is wrong.

    Parameters
    ----------
    by_run
        float64, n, of :func:`wrong_probabilities`; null where it is not known.
    by_inputs
        float64, n: one less the quality of :mod:`crest.label_noise`. Their mean is the share; where
        it is 0, they say nothing.
    """
    share = float(by_inputs.to_numpy().mean())
    if share == 0.0:
        return by_run
    odds = _log_odds(by_run.fill_null(share).to_numpy()) + _log_odds(by_inputs.to_numpy())
    odds -= _log_odds(np.array([share]))
    return pl.Series(1 / (1 + np.exp(-odds)))


def _log_odds(chances: Floats) -> Floats:
    inside = chances.clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _of_higher(values: Floats, share: float) -> Floats:
    """Return the probabilities of the higher of two normals, which has the given share.

    By expectation and maximisation, from the highest values as a beginning. Rounded to a number of
    examples, the share may be none or all.
    """
    count = round(share * len(values))
    if count in (0, len(values)):
        return np.full(len(values), float(count > 0))
    order = np.argsort(values, kind="stable")
    higher = np.zeros(len(values))
    higher[order[-count:]] = 1.0
    for _ in range(ITERATIONS):
        odds = _log_density(values, higher) - _log_density(values, 1 - higher)
        odds += math.log(share) - math.log1p(-share)
        found = 1 / (1 + np.exp(-odds.clip(-50, 50)))
        change, higher = np.abs(found - higher).mean(), found
        if change < TOLERANCE:
            break
    # The wider of two normals wins at both ends, where a low loss is no sign of a wrong label.
    higher[order] = _rising(values[order], higher[order])
    return higher


def _rising(values: Floats, found: Floats) -> Floats:
    """Return what never falls along sorted values, and is lowest where the first normal rules."""
    lowest = int(found.argmin())
    below = np.where(np.arange(len(found)) < lowest, found[lowest], found)
    return np.maximum.accumulate(below)


def _log_density(values: Floats, weights: Floats) -> Floats:
    """Return the logarithm of the density of the normal that fits weighted values."""
    total = max(weights.sum(), 1e-9)
    mean = (weights * values).sum() / total
    variance = max((weights * (values - mean) ** 2).sum() / total, 1e-6 * values.var(), 1e-12)
    return -0.5 * (math.log(variance) + (values - mean) ** 2 / variance)
