"""The quadratic model of the training loss within a region, and how far it errs."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from crest.regions.curvature import Curvature


@dataclass(frozen=True)
class QuadraticModel:
    """F_l(δ) = L(w_l) + g·δ + ½ δ·(h ⊙ δ) with δ = w_t − w_l (paper, Eq. 6).

    ``anchor`` is w_l, ``gradient`` g and ``curvature`` h; all flat float32 vectors of the
    parameters. ``loss`` is L(w_l).
    """

    anchor: Tensor
    loss: float
    gradient: Tensor
    curvature: Tensor

    def __call__(self, weights: Tensor) -> float:
        """Predict the loss at the flat weights w_t."""
        displacement = weights - self.anchor
        first = torch.dot(self.gradient, displacement)
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
class Smoothing:
    """Bias-corrected exponential averages of g, and of h as a root mean square (Eq. 8, 9).

    ``gradient_sum`` and ``square_sum`` are the raw averages, ``estimates`` how many went in.
    """

    gradient_decay: float
    curvature_decay: float
    gradient_sum: Tensor | None = None
    square_sum: Tensor | None = None
    estimates: int = 0

    def include(self, curvature: Curvature) -> "Smoothing":
        """Return the averages with one more estimate in them."""
        return replace(
            self,
            gradient_sum=_average(self.gradient_sum, curvature.gradient, self.gradient_decay),
            square_sum=_average(self.square_sum, curvature.hessian.square(), self.curvature_decay),
            estimates=self.estimates + 1,
        )

    @property
    def gradient(self) -> Tensor:
        """Smoothed g (Eq. 8)."""
        assert self.gradient_sum is not None, "nothing was included yet"
        return self.gradient_sum / (1.0 - self.gradient_decay**self.estimates)

    @property
    def curvature(self) -> Tensor:
        """Smoothed h, never negative (Eq. 9)."""
        assert self.square_sum is not None, "nothing was included yet"
        return (self.square_sum / (1.0 - self.curvature_decay**self.estimates)).sqrt()


def _average(previous: Tensor | None, value: Tensor, decay: float) -> Tensor:
    if previous is None:
        return (1.0 - decay) * value
    return decay * previous + (1.0 - decay) * value
