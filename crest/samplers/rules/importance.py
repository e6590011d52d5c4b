"""Importance: the likelier the larger the gradient, and the less it then counts."""

import torch
from torch import Tensor

from crest.samplers.rules.rule import Observed, Round, Rule, drawn_by_chance, require
from crest.selection.importance import clamped, limit_of


def importance(share: float = 0.6, floor: float = 0.25, until: float = 1.0) -> Rule:
    """Return the rule: chances proportional to gradients, losses weighed by one over them.

        p = min(1, max(floor, g/c)),  g = 1 - exp(-loss),  c such that the mean of p is the share
        weight = share / p

    The weighted mean gradient over a round is that over all examples, without bias, and varies less
    than that of as many at random. g is what a cross-entropy's gradient with respect to the logits
    is at least, ‖p − y‖ ≥ 1 − p_y; of a loss that is none, it grows with it at least.

    Parameters
    ----------
    share
        Of all examples that takes part in a round, on average.
    floor
        The lowest chance, where it is below the share; one over it is what weights may differ by.
    until
        Share of the steps after which rounds have all examples.

    Raises
    ------
    ParameterError
        If one is out of range.

    References
    ----------
    Katharopoulos and Fleuret, Not All Samples Are Created Equal: Deep Learning with Importance
    Sampling, ICML 2018: chances by norms of gradients, weights of one over them.
    """
    require("importance", "share", share, 1e-6, 1.0)
    require("importance", "floor", floor, 1e-6, 1.0)
    require("importance", "until", until, 0.0, 1.0)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        known = observed.known
        if observed.progress >= until or not len(known):
            return None
        chances = torch.ones(len(observed.losses))
        chances[known] = _chances(observed.losses[known], share, min(floor, share))
        members = drawn_by_chance(chances, generator)
        return Round(members, share / chances[members.long()])

    return Rule(draw, weighted=True)


def _chances(losses: Tensor, share: float, floor: float) -> Tensor:
    """Return the chance of each, float32 k; without gradients all have the same."""
    norms = -torch.expm1(-losses.clamp_min(0.0))
    if not float(norms.sum()):
        return torch.full_like(norms, share)
    return clamped(norms, limit_of(norms, share, floor), floor)
