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

from crest.errors import ParameterError

Describe = Callable[[Tensor], Tensor]
"""Returns the features, float32 k×d, of the examples at k indices."""

AT_ONCE = 1024  # examples
LEARNED_FROM = 2**16  # examples at most; all others are predicted as they are, being left out
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)  # a share of the examples, for features of variance 1
TRIED_ON = 2048  # examples
FAINT = 1e-12  # share of the mean square that is rounding, not variance
KEPT = 2**28  # bytes of features that are kept, not computed again


@dataclass(frozen=True)
class _Ridge:
    """A regression on d standardised features, from ``count`` examples."""

    coefficients: Tensor  # float32 d×C
    intercept: Tensor  # float32 C
    factor: Tensor  # float32 d×d, upper triangular: UᵀU = XᵀX + λI
    count: int

    def predict(self, features: Tensor) -> Tensor:
        """Return predictions, k×C, of standardised features."""
        return features @ self.coefficients + self.intercept

    def leverage(self, features: Tensor) -> Tensor:
        """Return h_ii of examples that the regression was made from, k."""
        solved = torch.linalg.solve_triangular(self.factor, features, upper=True, left=False)
        return solved.square().sum(1) + 1.0 / self.count

    def left_out(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return predictions, k×C, of such examples by all others."""
        leverage = self.leverage(features).clamp(max=1 - 1e-4)[:, None]
        return (self.predict(features) - leverage * targets) / (1 - leverage)


class _Standardised:
    """Features less their mean over their deviation, float32 k×d; 0 where they do not vary.

    Taken in double precision: a product of features that lie far from 0 is lost in float32. Those
    of all n examples are kept where there is room.
    """

    def __init__(self, describe: Describe, count: int, members: Tensor) -> None:
        self._kept = _described(describe, count)
        self._describe = describe if self._kept is None else self._of_kept
        width = (first := self._describe(members[:1])).shape[1]
        total, squares = (first.new_zeros(width, dtype=torch.float64) for _ in range(2))
        for some in members.split(AT_ONCE):
            features = self._describe(some).double()
            _require_finite(features, some)
            total += features.sum(0)
            squares += features.square().sum(0)
        self._mean = total / len(members)
        variance = squares / len(members) - self._mean.square()
        varies = variance > FAINT * squares / len(members)
        self._scale = torch.where(varies, variance, torch.inf).sqrt()
        if self._kept is not None:
            for some in torch.arange(count).split(AT_ONCE):
                self._kept[some] = self._scaled(some)

    def __call__(self, indices: Tensor) -> Tensor:
        return self._scaled(indices) if self._kept is None else self._of_kept(indices)

    def _scaled(self, indices: Tensor) -> Tensor:
        features = self._describe(indices).double()
        _require_finite(features, indices)
        return ((features - self._mean) / self._scale).float()

    def _of_kept(self, indices: Tensor) -> Tensor:
        assert self._kept is not None
        return self._kept[indices.to(self._kept.device)]


def _described(describe: Describe, count: int) -> Tensor | None:
    """Return the features of n examples, float32 n×d; None where there is no room for them."""
    width = describe(torch.zeros(1, dtype=torch.int64)).shape[1]
    if 4 * count * width > KEPT:
        return None
    return torch.cat([describe(some) for some in torch.arange(count).split(AT_ONCE)]).float()


def _require_finite(features: Tensor, indices: Tensor) -> None:
    broken = ~features.isfinite().all(1)
    if bool(broken.any()):
        row = int(indices[broken.cpu()][0])
        raise ParameterError(f"inputs: example {row} holds numbers that are not finite")


class _Sums:
    """Sums over the examples that regressions are made from."""

    def __init__(
        self, features: _Standardised, labels: Tensor, classes: int, members: Tensor
    ) -> None:
        self.count = len(members)
        width = (first := features(members[:1])).shape[1]
        exact = first.new_zeros(0, dtype=torch.float64)
        total, targets = exact.new_zeros(width), exact.new_zeros(classes)
        self._gram, self._cross = exact.new_zeros(width, width), exact.new_zeros(width, classes)
        for some in members.split(AT_ONCE):
            given, one_hot = features(some), _one_hot(labels[some], classes).to(first.device)
            total += given.sum(0, dtype=torch.float64)
            targets += one_hot.sum(0, dtype=torch.float64)
            self._gram += given.T @ given
            self._cross += given.T @ one_hot
        self._targets = targets / self.count
        self._cross -= total.outer(self._targets)

    def ridge(self, penalty: float) -> _Ridge:
        """Return the regression whose penalty is that share of the examples."""
        matrix = self._gram.clone()
        matrix.diagonal().add_(penalty * self.count)
        factor = torch.linalg.cholesky(matrix)
        coefficients = torch.cholesky_solve(self._cross, factor)
        return _Ridge(coefficients.float(), self._targets.float(), factor.T.float(), self.count)


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).to(torch.float32)


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

    Raises
    ------
    ParameterError
        If features are not finite; the message names the example.

    Notes
    -----
    O(n·d²), whatever the model; d² and some thousand examples' features are held at once.
    """
    count = len(labels)
    order = torch.randperm(count, generator=generator)
    members = order[:LEARNED_FROM].sort().values
    features = _Standardised(describe, count, members)
    sums = _Sums(features, labels, classes, members)
    ridge = _best(sums, features, labels, classes, order[: min(TRIED_ON, count)])
    inside = torch.zeros(count, dtype=torch.bool)
    inside[members] = True
    found = torch.empty(count, classes, dtype=torch.float32)
    for some in torch.arange(count).split(AT_ONCE):
        given = features(some)
        left_out = ridge.left_out(given, _one_hot(labels[some], classes).to(given.device)).cpu()
        found[some] = torch.where(inside[some, None], left_out, ridge.predict(given).cpu())
    return found


def _best(
    sums: _Sums, features: _Standardised, labels: Tensor, classes: int, tried: Tensor
) -> _Ridge:
    """Return the regression whose left-out predictions of some examples err least, squared.

    ``tried`` are some of those that it is made from.
    """
    given = features(tried)
    targets = _one_hot(labels[tried], classes).to(given.device)

    def error(ridge: _Ridge) -> float:
        return float((ridge.left_out(given, targets) - targets).square().mean())

    return min((sums.ridge(penalty) for penalty in PENALTIES), key=error)
