"""The quadratic model of the training loss within a region, and how far it errs."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class QuadraticModel:
    """F_l(δ) = L(w_l) + g·δ + ½ δ·(h ⊙ δ) with δ = w_t − w_l (paper, Eq. 6).

    ``anchor`` is w_l, ``gradient`` g and ``curvature`` h; all flat float32 vectors of the
    parameters. ``loss`` is L(w_l). Of ``order`` 1 it is L(w_l) + g·δ, as in the paper's ablation.
    """

    anchor: Tensor
    loss: float
    gradient: Tensor
    curvature: Tensor
    order: int = 2

    def __call__(self, weights: Tensor) -> float:
        """Predict the loss at the flat weights w_t."""
        displacement = weights - self.anchor
        first = torch.dot(self.gradient, displacement)
        if self.order == 1:
            return self.loss + float(first)
        second = torch.dot(self.curvature, displacement.square())
        return self.loss + float(first) + 0.5 * float(second)


def relative_error(predicted: float, measured: float) -> float:
    """Return ρ = |F_l(δ) − L_r(w_l + δ)| / L_r(w_l + δ) (paper, Eq. 10).

    Where the measured loss is 0 the model is either exact, ρ = 0, or infinitely wrong.
    """
    if measured == 0.0:
        return 0.0 if predicted == 0.0 else float("inf")
    return abs(predicted - measured) / measured


@dataclass(frozen=True)
class Average:
    """A bias-corrected exponential average, (1 − β) Σ β^(k−i) x_i / (1 − β^k).

    ``total`` is the average before its correction, ``count`` k, how many values went in.
    """

    decay: float
    total: Tensor | None = None
    count: int = 0

    def include(self, value: Tensor) -> "Average":
        """Return the average with one more value in it."""
        total = (1.0 - self.decay) * value
        if self.total is not None:
            total += self.decay * self.total
        return Average(self.decay, total, self.count + 1)

    @torch.no_grad()
    def include_parts(self, parts: list[Tensor]) -> "Average":
        """Return the average with one more value in it, the flat vector of float32 parts.

        As :meth:`include`, bit for bit, but the total is written over.
        """
        if self.total is None:
            return self.include(torch.cat([part.reshape(-1) for part in parts]))
        scaled = torch._foreach_mul(parts, 1.0 - self.decay)
        self.total.mul_(self.decay)
        places = self.total.split([part.numel() for part in scaled])
        shaped = [place.view_as(part) for place, part in zip(places, scaled, strict=True)]
        torch._foreach_add_(shaped, scaled)
        return Average(self.decay, self.total, self.count + 1)

    @property
    def value(self) -> Tensor:
        """The average; there is none before the first value."""
        assert self.total is not None, "nothing was included yet"
        return self.total / (1.0 - self.decay**self.count)


@dataclass(frozen=True)
class Smoothing:
    """Averages of g, and of h as a root mean square (Eq. 8, 9): of g itself, and of h²."""

    gradients: Average
    squares: Average

    def include_gradient(self, gradient: Tensor) -> "Smoothing":
        """Return the averages with one more estimate of g in them."""
        return Smoothing(self.gradients.include(gradient), self.squares)

    def include_gradient_of(self, parts: list[Tensor]) -> "Smoothing":
        """Return the averages with one more estimate of g in them, given in parts."""
        return Smoothing(self.gradients.include_parts(parts), self.squares)

    def include_hessian(self, hessian: Tensor) -> "Smoothing":
        """Return the averages with one more estimate of h in them."""
        return Smoothing(self.gradients, self.squares.include(hessian.square()))

    @property
    def gradient(self) -> Tensor:
        """Smoothed g (Eq. 8)."""
        return self.gradients.value

    @property
    def curvature(self) -> Tensor:
        """Smoothed h, never negative (Eq. 9)."""
        return self.squares.value.sqrt()
