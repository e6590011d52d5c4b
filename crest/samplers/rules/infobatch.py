"""InfoBatch: of what is learned better than the mean a random part, which then counts for more.

Qin et al., *InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning*, ICLR 2024,
arXiv 2303.04947.
"""

import torch

from crest.errors import ParameterError
from crest.samplers.rules.rule import Observed, Round, Rule, require, some_of


def infobatch(ratio: float = 0.5, until: float = 0.875, weights: bool = True) -> Rule:
    """Return the rule: of the examples whose last loss is below the mean, a share is left out.

    The losses of those of them that are kept count 1/(1 − r), so that the sum over a round is
    that over all examples in expectation (Eq. 7); the mean over a round is larger by n over its
    members, as in theirs.

    Parameters
    ----------
    ratio
        r, the share of those below the mean that is left out.
    until
        δ, the share of the steps after which rounds have all examples.
    weights
        Whether losses are scaled; False for their ablation without.

    Raises
    ------
    ParameterError
        If one is out of range.
    """
    require("infobatch", "ratio", ratio, 0.0, 0.999)
    require("infobatch", "until", until, 0.0, 1.0)
    if not isinstance(weights, bool):
        raise ParameterError(f"rule 'infobatch': weights: must be True or False, not {weights!r}")

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        known = observed.known
        if observed.progress >= until or not len(known):
            return None
        losses = observed.losses[known]
        low = losses < losses.double().mean()
        kept = some_of(known[low], round((1 - ratio) * int(low.sum())), generator)
        whole = torch.cat([observed.unknown, known[~low]])
        members = torch.cat([whole, kept])
        factors = torch.ones(len(members))
        factors[len(whole) :] = 1 / (1 - ratio)
        return Round(members, factors if weights else None)

    return Rule(draw, weighted=weights)
