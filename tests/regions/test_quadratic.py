"""The quadratic model where it is exact, and the smoothing in closed form."""

import math

import pytest
import torch

from crest.regions.quadratic import Average, QuadraticModel, Smoothing, relative_error


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


def smoothing(gradient_decay: float, curvature_decay: float) -> Smoothing:
    return Smoothing(Average(gradient_decay), Average(curvature_decay))


def test_smoothing_of_one_estimate_is_that_estimate() -> None:
    gradient, hessian = torch.tensor([1.0, -2.0]), torch.tensor([3.0, -4.0])
    smoothed = smoothing(0.9, 0.999).include_gradient(gradient).include_hessian(hessian)
    torch.testing.assert_close(smoothed.gradient, gradient)
    torch.testing.assert_close(smoothed.curvature, hessian.abs())


def test_smoothing_closed_form() -> None:
    """Eq. 8 and 9 written out: (1 − β) Σ β^(l−i) x_i / (1 − β^l)."""
    values = [torch.tensor([float(i), -2.0 * i]) for i in range(1, 6)]
    smoothed = smoothing(0.9, 0.999)
    for value in values:
        smoothed = smoothed.include_gradient(value).include_hessian(3 * value)

    def average(items: list[torch.Tensor], decay: float) -> torch.Tensor:
        parts = [decay ** (len(items) - 1 - i) * item for i, item in enumerate(items)]
        return (1 - decay) * sum(parts, torch.zeros(2)) / (1 - decay ** len(items))

    torch.testing.assert_close(smoothed.gradient, average(values, 0.9))
    squares = average([(3 * value) ** 2 for value in values], 0.999)
    torch.testing.assert_close(smoothed.curvature, squares.sqrt(), rtol=1e-4, atol=1e-5)


def test_gradients_and_curvatures_are_counted_apart() -> None:
    one = torch.ones(2)
    smoothed = smoothing(0.5, 0.5).include_hessian(one)
    for _ in range(3):
        smoothed = smoothed.include_gradient(one)
    assert (smoothed.gradients.count, smoothed.squares.count) == (3, 1)
    torch.testing.assert_close(smoothed.gradient, one)


def test_no_smoothing_keeps_the_last_estimate() -> None:
    smoothed = smoothing(0.0, 0.0)
    for value in (1.0, 5.0):
        last = torch.tensor([value])
        smoothed = smoothed.include_gradient(last).include_hessian(last)
    assert float(smoothed.gradient) == 5.0
    assert float(smoothed.curvature) == 5.0


def test_without_smoothing_the_curvature_is_the_last_estimates_absolute_value() -> None:
    """Eq. 9 at β2 = 0 is |h|: the root of a square loses the sign, whatever the average."""
    smoothed = smoothing(0.0, 0.0)
    for values in ([7.0, 8.0], [3.0, -4.0]):
        last = torch.tensor(values)
        smoothed = smoothed.include_gradient(last).include_hessian(last)
    assert smoothed.gradient.tolist() == [3.0, -4.0]
    assert smoothed.curvature.tolist() == [3.0, 4.0]


def test_a_model_of_the_first_order_is_the_tangent() -> None:
    anchor, slope = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
    model = QuadraticModel(anchor, 3.0, slope, torch.full((2,), 100.0), order=1)
    assert model(anchor) == 3.0
    assert model(torch.tensor([3.0, 5.0])) == pytest.approx(3.0 + 0.5 * 2.0 - 1.0 * 3.0)


def test_a_value_in_parts_is_averaged_bit_for_bit_as_its_flat_vector() -> None:
    """Also one that is laid out otherwise in memory, as convolutions' gradients are."""
    source = torch.Generator().manual_seed(0)
    flat = parts = Average(0.9)
    for _ in range(5):
        drawn = [torch.randn(shape, generator=source) for shape in ((4, 3, 2, 2), (5,), (2, 3))]
        laid_out = [drawn[0].to(memory_format=torch.channels_last), *drawn[1:]]
        flat = flat.include(torch.cat([part.reshape(-1) for part in drawn]))
        parts = parts.include_parts(laid_out)
        assert parts.count == flat.count
        assert torch.equal(parts.value, flat.value)
