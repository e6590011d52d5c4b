"""Orthogonal matching pursuit: few gradients, weighted, whose sum is that of all.

The choice of GradMatch: Killamsetty, Sivasubramanian, Ramakrishnan, De and Iyer, GRAD-MATCH:
Gradient Matching based Data Subset Selection for Efficient Deep Model Training, ICML 2021.
"""

import torch
from torch import Tensor

from crest.selection.facility_location import one_thread

# Of the largest correlation at the start: what is below it is rounding.
TOLERANCE = 1e-10


@one_thread()
def matching_pursuit(gradients: Tensor, size: int, regularisation: float) -> tuple[Tensor, Tensor]:
    """Pick gradients one by one, and fit non-negative weights of all picks after each.

    After every pick the weights are those w ≥ 0 that minimise ‖Σ_i g_i − Σ_j w_j g_j‖² + λ‖w‖²,
    i over all rows and j over the picks; the next pick is the row that is most correlated with
    what is left of the sum (their algorithm 2, with their non-negative weights). In float64 on
    the CPU.

    Parameters
    ----------
    gradients
        r×d.
    size
        Most picks, at most r.
    regularisation
        λ.

    Returns
    -------
    picks
        int64, k ≤ ``size``, in the order they were picked. Fewer where no row left correlates with
        what is left of the sum, or where later picks took all weight from earlier ones.
    weights
        float32, k, above 0.
    """
    rows = gradients.detach().double().cpu()
    target = rows.sum(0)
    correlation = rows @ target
    tolerance = TOLERANCE * float(correlation.abs().max())
    free = torch.ones(len(rows), dtype=torch.bool)
    fit = _Fit(target, size, regularisation, tolerance)
    picks: list[int] = []
    while len(picks) < size:
        best = int(correlation.masked_fill(~free, -torch.inf).argmax())
        if correlation[best] <= tolerance:
            break
        free[best] = False
        picks.append(best)
        fit.add(rows[best])
        correlation = rows @ fit.residual
    used = fit.weights > 0
    return torch.tensor(picks, dtype=torch.int64)[used], fit.weights[used].float()


class _Fit:
    """Non-negative least squares with an l2 penalty, of a growing number of gradients.

    The active-set method of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23),
    which goes on from the weights before the last gradient came.
    """

    def __init__(self, target: Tensor, size: int, penalty: float, tolerance: float) -> None:
        self._target = target
        self._penalty = penalty
        self._tolerance = tolerance
        self._count = 0
        self._basis = target.new_zeros(size, len(target))
        self._products = target.new_zeros(size, size)  # of the basis with itself
        self._weights = target.new_zeros(size)

    @property
    def weights(self) -> Tensor:
        """Weight of each gradient so far."""
        return self._weights[: self._count]

    @property
    def residual(self) -> Tensor:
        """What the weighted gradients leave of the target."""
        return self._target - self.weights @ self._basis[: self._count]

    def add(self, gradient: Tensor) -> None:
        """Take in a gradient, and fit all weights anew."""
        last = self._count
        self._count += 1
        self._basis[last] = gradient
        products = self._basis[: self._count] @ gradient
        self._products[last, : self._count] = products
        self._products[: self._count, last] = products
        refused = torch.zeros(self._count, dtype=torch.bool)
        while (entering := self._entering(refused)) is not None:
            self._enter(entering)
            # By rounding alone: what correlates with the residual takes some weight.
            refused[entering] = self.weights[entering] == 0

    def _entering(self, refused: Tensor) -> int | None:
        """Return the gradient without weight that would lessen the error most; None for none."""
        slopes = self._basis[: self._count] @ self.residual
        slopes[refused | (self.weights > 0)] = -torch.inf
        best = int(slopes.argmax())
        return best if slopes[best] > self._tolerance else None

    def _enter(self, entering: int) -> None:
        """Let one more gradient take weight, and take it from those that would fall below 0."""
        weights = self.weights
        taking = weights > 0
        taking[entering] = True
        support = torch.nonzero(taking).flatten()
        while len(support):
            before, best = weights[support], self._least_squares(support)
            falling = torch.nonzero(best <= 0).flatten()
            if len(falling) == 0:
                weights[support] = best
                return
            shares = before[falling] / (before[falling] - best[falling])
            moved = before + shares.min() * (best - before)
            # The first to reach 0 leaves, and whatever rounding took below it.
            moved[falling[shares.argmin()]] = 0.0
            weights[support] = moved.clamp_(min=0.0)
            support = support[moved > 0]

    def _least_squares(self, support: Tensor) -> Tensor:
        """Return the unconstrained weights of some of the gradients."""
        basis, target, penalty = self._basis[support], self._target, self._penalty
        if penalty == 0:
            return torch.linalg.lstsq(basis.T, target[:, None], driver="gelsd").solution[:, 0]
        if len(support) > len(target):  # the same weights, from the smaller system
            gram = basis.T @ basis
            gram.diagonal().add_(penalty)
            return basis @ torch.linalg.solve(gram, target)
        products = self._products[support][:, support]
        products.diagonal().add_(penalty)
        return torch.linalg.solve(products, basis @ target)
