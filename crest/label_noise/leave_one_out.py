"""Predictions of every example by all others: ridge regression, each example left out in turn.

With the hat matrix H of a linear smoother, the prediction of example i by a regression without it
is (ŷ_i − h_ii·y_i) / (1 − h_ii): one regression gives them all (Allen's PRESS; Golub, Heath and
Wahba, *Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter*,
Technometrics 1979, Eq. 1.4).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Describe = Callable[[Tensor], Tensor]
"""Returns the features, float32 k×d, of the examples at k indices."""

AT_ONCE = 1024  # examples
LEARNED_FROM = 2**16  # examples at most; all others are predicted as they are, being left out
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)  # a share of the examples, for features of variance 1
TRIED_ON = 2048  # examples
KEPT = 2**28  # bytes of features that are kept, not computed again


@dataclass(frozen=True)
class _Ridge:
    """A regression of d standardised features: all float32, but ``mean`` and ``scale`` alike."""

    mean: Tensor  # d
    scale: Tensor  # d
    coefficients: Tensor  # d×C
    intercept: Tensor  # C
    inverse: Tensor  # d×d: (XᵀX + λI)⁻¹
    count: int

    def predict(self, features: Tensor) -> Tensor:
        """Return predictions, k×C, of standardised features."""
        return features @ self.coefficients + self.intercept

    def leverage(self, features: Tensor) -> Tensor:
        """Return h_ii of examples that the regression was made from, k."""
        return (features @ self.inverse * features).sum(1) + 1.0 / self.count

    def left_out(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return predictions, k×C, of such examples by all others."""
        leverage = self.leverage(features).clamp(max=1 - 1e-4)[:, None]
        return (self.predict(features) - leverage * targets) / (1 - leverage)


class _Sums:
    """Sums over the examples that regressions are made from."""

    def __init__(self, describe: Describe, labels: Tensor, classes: int, members: Tensor) -> None:
        self.count = len(members)
        first = describe(members[:1])
        width = first.shape[1]
        exact = torch.zeros(0, dtype=torch.float64, device=first.device)
        total, targets = exact.new_zeros(width), exact.new_zeros(classes)
        gram, cross = exact.new_zeros(width, width), exact.new_zeros(width, classes)
        for some in members.split(AT_ONCE):
            features = describe(some)
            one_hot = F.one_hot(labels[some], classes).to(features)
            total += features.sum(0, dtype=torch.float64)
            targets += one_hot.sum(0, dtype=torch.float64)
            gram += features.T @ features
            cross += features.T @ one_hot
        self.mean = total / self.count
        centred = gram - self.count * self.mean.outer(self.mean)
        variance = centred.diagonal().clamp(min=0) / self.count
        tiny = 1e-9 * (variance + self.mean**2)
        self.scale = torch.where(variance > tiny, variance, 1.0).sqrt()
        self._gram = centred / self.scale.outer(self.scale)
        self.targets = targets / self.count
        self._cross = (cross - self.count * self.mean.outer(self.targets)) / self.scale[:, None]

    def ridge(self, penalty: float) -> _Ridge:
        """Return the regression whose penalty is that share of the examples."""
        matrix = self._gram.clone()
        matrix.diagonal().add_(penalty * self.count)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        return _Ridge(
            self.mean.float(),
            self.scale.float(),
            (inverse @ self._cross).float(),
            self.targets.float(),
            inverse.float(),
            self.count,
        )


def leave_one_out(
    describe: Describe, labels: Tensor, classes: int, generator: torch.Generator
) -> Tensor:
    """Return what all other examples predict of each: float32 n×C on the CPU, near one-hot labels.

    Parameters
    ----------
    describe
        Returns features; called with int64 indices on the CPU.
    labels
        int64, n, of 0 to C − 1, on the CPU.
    classes
        C.
    generator
        On the CPU; says which examples are learned from where there are very many, and on which the
        penalty is tried.

    Notes
    -----
    O(n·d²), whatever the model; d² and some thousand examples' features are held at once.
    """
    count = len(labels)
    describe = _kept(describe, count)
    order = torch.randperm(count, generator=generator)
    members = order[:LEARNED_FROM].sort().values
    sums = _Sums(describe, labels, classes, members)
    ridge = _best(sums, describe, labels, classes, order[: min(TRIED_ON, count)])
    inside = torch.zeros(count, dtype=torch.bool)
    inside[members] = True
    found = torch.empty(count, classes)
    for some in torch.arange(count).split(AT_ONCE):
        features = (describe(some) - ridge.mean) / ridge.scale
        targets = F.one_hot(labels[some], classes).to(features)
        left_out = ridge.left_out(features, targets).cpu()
        found[some] = torch.where(inside[some, None], left_out, ridge.predict(features).cpu())
    return found


def _kept(describe: Describe, count: int) -> Describe:
    """Return what describes n examples, and keeps what it found where there is room."""
    width = describe(torch.zeros(1, dtype=torch.int64)).shape[1]
    if 4 * count * width > KEPT:
        return describe
    parts = [describe(some) for some in torch.arange(count).split(AT_ONCE)]
    features = torch.cat(parts)
    return lambda indices: features[indices.to(features.device)]


def _best(sums: _Sums, describe: Describe, labels: Tensor, classes: int, tried: Tensor) -> _Ridge:
    """Return the regression whose left-out predictions of some examples err least, squared."""
    batches = tried.split(AT_ONCE)
    described = [(describe(some) - sums.mean.float()) / sums.scale.float() for some in batches]
    features = torch.cat(described)
    targets = F.one_hot(labels[tried], classes).to(features)

    def error(ridge: _Ridge) -> float:
        return float((ridge.left_out(features, targets) - targets).square().mean())

    return min((sums.ridge(penalty) for penalty in PENALTIES), key=error)
