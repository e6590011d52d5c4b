"""Uniform: all examples in every round.

Passes through the data without replacement; under a compressed schedule what Okanovic et al. call
RS2 (*Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning*, ICLR 2024,
arXiv 2305.18424).
"""

import torch

from crest.samplers.rules.rule import Observed, Rule


def uniform() -> Rule:
    """Return the rule that has no options and needs no losses."""
    return Rule(_all, needs_losses=False)


def _all(observed: Observed, generator: torch.Generator) -> None:
    """All take part."""
