"""OrderDP: of a random part of the examples those with the highest last losses.

Xu et al., *OrderDP*, ICLR 2026, arXiv 2606.08574.
"""

import torch

from crest.samplers.rules.rule import Observed, Round, Rule, highest, require, some_of


def orderdp(subset: float = 0.5, share: float = 0.5) -> Rule:
    """Return the rule: a random subset of s examples, of which the q with the highest losses.

    What was never trained on counts as the highest.

    Parameters
    ----------
    subset
        s/n, the random part of all examples.
    share
        q/s, the share of that part that takes part.

    Raises
    ------
    ParameterError
        If one is out of range.
    """
    require("orderdp", "subset", subset, 1e-6, 1.0)
    require("orderdp", "share", share, 1e-6, 1.0)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        count = len(observed.losses)
        every = torch.arange(count)
        some = some_of(every, round(subset * count), generator)
        losses = observed.losses[some].nan_to_num(torch.inf)
        return Round(highest(some, losses, round(share * len(some)), generator))

    return Rule(draw)
