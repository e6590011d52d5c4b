"""RCAP: each class's share by its loss, and within a class the likelier the higher the loss.

Hassan et al., *RCAP*, UAI 2025, PMLR 286, arXiv 2606.11761.
"""

import math

import torch
from torch import Tensor

from crest.samplers.rules.rule import Observed, Round, Rule, require


def rcap(share: float = 0.5, temperature: float = 1.0) -> Rule:
    """Return the rule: class c has b_c ∝ √(L_c π_c) examples, drawn by exp(min(ℓ, τ)/β).

    L_c is the mean of the clipped last losses of the class, π_c its share of the data and
    τ = log C; what was never trained on has the loss τ. A class gives no more than it has; the
    others share what it lacks. Drawn without replacement. (datacull 1.0.2 takes the mass of the
    within-class chances of what took part last for L_c; the first round is the same.)

    Parameters
    ----------
    share
        b/n, the share of the examples that takes part.
    temperature
        β, of the losses within a class.

    Raises
    ------
    ParameterError
        If one is out of range.
    """
    require("rcap", "share", share, 1e-6, 1.0)
    require("rcap", "temperature", temperature, 1e-3, 1e6)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        groups = observed.groups
        assert groups is not None, "the rule is registered as one that needs groups"
        names, of_each, sizes = groups.unique(return_inverse=True, return_counts=True)
        most = math.log(max(len(names), 2))
        losses = observed.losses.nan_to_num(most).clamp(max=most)
        sums = torch.zeros(len(names), dtype=torch.float64).index_add_(0, of_each, losses.double())
        quotas = class_quotas(sums / sizes, sizes, round(share * len(losses)))
        # The highest of log p + Gumbel noise are a draw without replacement by p.
        keys = losses / temperature + _gumbel(len(losses), generator)
        order = keys.argsort(descending=True, stable=True)
        order = order[of_each[order].argsort(stable=True)]
        first = sizes.cumsum(0) - sizes
        places = torch.arange(len(order)) - first[of_each[order]]
        return Round(order[places < quotas[of_each[order]]])

    return Rule(draw)


def class_quotas(losses: Tensor, sizes: Tensor, budget: int) -> Tensor:
    """Return how many examples each class has of a budget, int64 C.

    ``losses`` float64 C are their means, ``sizes`` int64 C. Rounded up to the nearest whole number
    by largest remainder, so that they sum to the budget.
    """
    shares = (losses * sizes / sizes.sum()).sqrt()
    quotas = torch.zeros(len(sizes), dtype=torch.float64)
    free = torch.ones(len(sizes), dtype=torch.bool)
    while bool(free.any()):
        left = budget - quotas[~free].sum()
        total = shares[free].sum()
        even = torch.full_like(shares, 1.0) if total == 0 else shares
        quotas[free] = left * even[free] / even[free].sum()
        full = free & (quotas > sizes)
        if not bool(full.any()):
            break
        quotas[full] = sizes[full].double()
        free &= ~full
    whole = quotas.floor().long()
    rest = budget - int(whole.sum())
    remainders = torch.where(whole < sizes, quotas - whole, -1.0)
    whole[remainders.argsort(descending=True, stable=True)[:rest]] += 1
    return whole


def _gumbel(count: int, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    return -(-uniform.clamp(min=1e-300).log()).log()
