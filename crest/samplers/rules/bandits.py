"""ε-greedy and UCB: the examples with the highest running means of their losses, and some others.

Raju, Daruwalla and Lipasti, *Accelerating Deep Learning with Dynamic Data Pruning*, 2021, arXiv
2111.12621. They have no public code; this is our reading of it. What is not trained on keeps its
mean and variance, and what was never trained on takes part.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from crest.samplers.rules.rule import (
    Observed,
    Remember,
    Round,
    Rule,
    highest,
    require,
    some_of,
)


def epsilon_greedy(share: float = 0.5, epsilon: float = 0.1, decay: float = 0.8) -> Rule:
    """Return the rule: (1 − ε)k examples of the highest mean, and εk of the others at random.

    Parameters
    ----------
    share
        k/n, the share of the examples that takes part.
    epsilon
        ε, the share of them that is drawn from the others.
    decay
        α, the weight of the last loss in the running mean: μ ← (1 − α)μ + αℓ.

    Raises
    ------
    ParameterError
        If one is out of range.
    """
    require("epsilon_greedy", "share", share, 1e-6, 1.0)
    require("epsilon_greedy", "epsilon", epsilon, 0.0, 1.0)
    require("epsilon_greedy", "decay", decay, 1e-6, 1.0)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        count = _count(observed, share)
        if count is None:
            return None
        known = observed.known
        most = count - round(epsilon * count)
        greedy = highest(known, observed.columns["mean"][known], most, generator)
        others = torch.ones(len(observed.losses), dtype=torch.bool)
        others[greedy] = others[observed.unknown] = False
        some = some_of(others.nonzero().flatten(), count - len(greedy), generator)
        return Round(torch.cat([observed.unknown, greedy, some]))

    return Rule(draw, columns={"mean": torch.nan}, remember=_running(decay))


def ucb(share: float = 0.5, confidence: float = 1.0, decay: float = 0.8) -> Rule:
    """Return the rule: the k examples of the highest μ + c·v, a running mean and variance.

    Parameters
    ----------
    share
        k/n, the share of the examples that takes part.
    confidence
        c, what the variance counts beside the mean.
    decay
        α, the weight of the last loss in both: v ← (1 − α)v + α(ℓ − μ)², then μ ← (1 − α)μ + αℓ.

    Raises
    ------
    ParameterError
        If one is out of range.
    """
    require("ucb", "share", share, 1e-6, 1.0)
    require("ucb", "confidence", confidence, 0.0, 1e6)
    require("ucb", "decay", decay, 1e-6, 1.0)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        count = _count(observed, share)
        if count is None:
            return None
        known, columns = observed.known, observed.columns
        scores = columns["mean"][known] + confidence * columns["variance"][known]
        return Round(torch.cat([observed.unknown, highest(known, scores, count, generator)]))

    return Rule(draw, columns={"mean": torch.nan, "variance": 0.0}, remember=_running(decay))


def _count(observed: Observed, share: float) -> int | None:
    """Return how many of the known examples take part; None before there are any, for all."""
    known = len(observed.known)
    return round(share * known) if known else None


def _running(decay: float) -> Remember:
    def remember(columns: Mapping[str, Tensor], indices: Tensor, losses: Tensor) -> None:
        mean = columns["mean"][indices]
        new = mean.isnan()
        if "variance" in columns:
            spread = columns["variance"][indices].lerp((losses - mean).square(), decay)
            columns["variance"][indices] = torch.where(new, 0.0, spread)
        columns["mean"][indices] = torch.where(new, losses, mean.lerp(losses, decay))

    return remember
