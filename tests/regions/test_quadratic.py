"""The quadratic model where it is exact, and the smoothing in closed form."""

import math

import pytest
import torch

from crest.regions.curvature import Curvature
from crest.regions.quadratic import QuadraticModel, Smoothing, relative_error


def test_exact_for_a_quadratic_loss_with_diagonal_hessian() -> None:
    generator = torch.Generator().manual_seed(0)
    curvature = torch.rand(6, generator=generator)
    slope = torch.randn(6, generator=generator)

    def loss(weights: torch.Tensor) -> float:
        return float(3.0 + slope @ weights + 0.5 * (curvature * weights) @ weights)

    anchor = torch.randn(6, generator=generator)
    model = QuadraticModel(anchor, loss(anchor), slope + curvature * anchor, curvature)
    assert model(anchor) == loss(anchor)
    for _ in range(5):
        weights = torch.randn(6, generator=generator)
        assert model(weights) == pytest.approx(loss(weights), rel=1e-5)


@pytest.mark.parametrize(
    ("predicted", "measured", "expected"),
    [(1.1, 1.0, 0.1), (0.9, 1.0, 0.1), (2.0, 2.0, 0.0), (0.0, 0.0, 0.0), (0.1, 0.0, math.inf)],
)
def test_relative_error(predicted: float, measured: float, expected: float) -> None:
    assert relative_error(predicted, measured) == pytest.approx(expected)


def test_smoothing_of_one_estimate_is_that_estimate() -> None:
    estimate = Curvature(torch.tensor([1.0, -2.0]), torch.tensor([3.0, -4.0]))
    smoothing = Smoothing(0.9, 0.999).include(estimate)
    torch.testing.assert_close(smoothing.gradient, estimate.gradient)
    torch.testing.assert_close(smoothing.curvature, estimate.hessian.abs())


def test_smoothing_closed_form() -> None:
    """Eq. 8 and 9 written out: (1 − β) Σ β^(l−i) x_i / (1 − β^l)."""
    values = [torch.tensor([float(i), -2.0 * i]) for i in range(1, 6)]
    smoothing = Smoothing(0.9, 0.999)
    for value in values:
        smoothing = smoothing.include(Curvature(value, 3 * value))

    def average(items: list[torch.Tensor], decay: float) -> torch.Tensor:
        parts = [decay ** (len(items) - 1 - i) * item for i, item in enumerate(items)]
        return (1 - decay) * sum(parts, torch.zeros(2)) / (1 - decay ** len(items))

    torch.testing.assert_close(smoothing.gradient, average(values, 0.9))
    squares = average([(3 * value) ** 2 for value in values], 0.999)
    torch.testing.assert_close(smoothing.curvature, squares.sqrt(), rtol=1e-4, atol=1e-5)


def test_no_smoothing_keeps_the_last_estimate() -> None:
    smoothing = Smoothing(0.0, 0.0)
    for value in (1.0, 5.0):
        smoothing = smoothing.include(Curvature(torch.tensor([value]), torch.tensor([value])))
    assert float(smoothing.gradient) == 5.0
    assert float(smoothing.curvature) == 5.0
