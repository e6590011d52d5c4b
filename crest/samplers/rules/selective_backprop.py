"""Selective-Backprop by remembered losses: the higher the rank of a loss, the likelier a part.

Jiang et al., *Accelerating Deep Learning by Focusing on the Biggest Losers*, 2019, arXiv
1910.00762, in their stale variant: theirs takes the rank among the last 1,024 losses of forward
passes of its own, ours that among the last losses of all examples.
"""

import torch

from crest.samplers.rules.rule import Observed, Round, Rule, drawn_by_chance, require


def selective_backprop(power: float = 1.0) -> Rule:
    """Return the rule: an example takes part with the chance F(ℓ)^β.

    F(ℓ) is the share of all known losses that are smaller. A share 1/(β+1) takes part.

    Parameters
    ----------
    power
        β, the power of the rank.

    Raises
    ------
    ParameterError
        If it is out of range.
    """
    require("selective_backprop", "power", power, 0.0, 100.0)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        known = observed.known
        if not len(known):
            return None
        losses = observed.losses[known]
        smaller = torch.searchsorted(losses.sort().values, losses)
        chances = torch.ones_like(observed.losses)
        chances[known] = (smaller / len(known)).float().pow(power)
        return Round(drawn_by_chance(chances, generator))

    return Rule(draw)
