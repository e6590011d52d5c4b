"""Focused: learned examples less often, by a :class:`~crest.samplers.rounds.Focus`."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from crest.samplers.rounds import Focus
from crest.samplers.rules.rule import (
    AT_ONCE,
    Observed,
    Round,
    Rule,
    drawn_by_chance,
    require,
)

FIRST = "first"  # loss of each example


def focused(
    exponent: float = 0.5,
    floor: float = 0.25,
    ceiling: float | None = None,
    until: float = 0.85,
    onset: float | None = 0.5,
) -> Rule:
    """Return a focus on the last losses: an example takes part with its chance.

    What training does not take away it takes for noise: there is no focus before the mean loss has
    fallen to ``onset`` of what it was when examples were drawn first; the focus grows as it falls
    further, and is whole at half of that.

    Parameters
    ----------
    exponent
        The chance is loss over mean loss to this power.
    floor
        The lowest chance.
    ceiling
        Losses above so many times the mean have the lowest chance, None for none.
    until
        Share of the steps after which rounds have all examples.
    onset
        Share of the first losses that is left at the onset, None for the focus as it is.

    Raises
    ------
    ParameterError
        If one is out of range.
    """
    require("focused", "exponent", exponent, 0.0, 100.0)
    require("focused", "floor", floor, 1e-6, 1.0)
    require("focused", "until", until, 0.0, 1.0)
    if ceiling is not None:
        require("focused", "ceiling", ceiling, 1e-6, 1e30)
    if onset is not None:
        require("focused", "onset", onset, 1e-6, 1e30)
    focus = Focus(exponent, floor, ceiling)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        if observed.progress >= until or bool(observed.losses.isnan().all()):
            return None
        strength = 1.0 if onset is None else strength_of(observed, onset)
        if strength == 0.0:
            return None
        now = replace(focus, floor=1.0 - (1.0 - floor) * strength)
        return Round(drawn_by_chance(now.chances(observed.losses), generator))

    if onset is None:
        return Rule(draw)
    return Rule(draw, columns={FIRST: torch.nan}, remember=_remember_first)


def strength_of(observed: Observed, onset: float) -> float:
    """Return the strength of the focus, from the mean of the known losses and of their first ones.

    0 where the one is ``onset`` of the other, 1 at half of that, linear between them.
    """
    mean, first = _sum(observed.losses), _sum(observed.columns[FIRST])
    return min(1.0, max(0.0, 2.0 - 2.0 * mean / (onset * first))) if first else 0.0


def _sum(losses: Tensor) -> float:
    """Return the sum of those that are known; of many, without a copy in float64."""
    return sum(float(some.double().nansum()) for some in losses.split(AT_ONCE))


def _remember_first(columns: Mapping[str, Tensor], indices: Tensor, losses: Tensor) -> None:
    first = columns[FIRST]
    first[indices] = torch.where(first[indices].isnan(), losses, first[indices])
