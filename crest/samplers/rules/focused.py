"""Focused: learned examples less often, by a :class:`~crest.samplers.rounds.Focus`."""

import torch

from crest.samplers.rounds import Focus
from crest.samplers.rules.rule import Observed, Round, Rule, drawn_by_chance, require


def focused(
    exponent: float = 0.5, floor: float = 0.25, ceiling: float | None = None, until: float = 0.85
) -> Rule:
    """Return a focus on the last losses: an example takes part with its chance.

    Parameters
    ----------
    exponent, floor, ceiling
        As of :class:`~crest.samplers.rounds.Focus`.
    until
        Share of the steps after which rounds have all examples.

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
    focus = Focus(exponent, floor, ceiling)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        if observed.progress >= until or bool(observed.losses.isnan().all()):
            return None
        return Round(drawn_by_chance(focus.chances(observed.losses), generator))

    return Rule(draw)
