"""The filtered loss against the closed form, and against the truth in a simulation."""

import pytest
import torch

from crest.regions.loss import LossFilter


def losses(mean: float, spread: float, count: int = 100) -> torch.Tensor:
    """Numbers of exactly this mean and sample deviation."""
    values = torch.linspace(-1.0, 1.0, count).double()
    return mean + spread * values / values.std()


def test_the_first_losses_are_taken_as_they_are() -> None:
    assert LossFilter().observe(losses(1.7, 0.5)).loss == pytest.approx(1.7)


def test_losses_at_the_same_weights_are_averaged_by_their_numbers() -> None:
    """Of equal variance, 100 and 300 examples count as 400 would."""
    values = losses(1.0, 0.5, 100), losses(1.4, 0.5, 300)
    learned = LossFilter().observe(values[0]).observe(values[1])
    assert learned.loss == pytest.approx(1.3)
    assert learned.variance == pytest.approx(0.25 / 400)


def test_the_gain_is_the_movements_share_of_the_variance() -> None:
    # R = 0.5² / 100 and e² = 0.1², so that M = 0.0075 and M / (M + R) = 0.75.
    learned = LossFilter().observe(losses(1.0, 0.5)).check(losses(1.1, 0.5))
    assert learned.loss == pytest.approx(1.0 + 0.75 * 0.1)
    assert learned.variance == pytest.approx(0.25 * 0.0075)


def test_more_examples_count_for_more() -> None:
    learned = LossFilter().observe(losses(1.0, 0.5)).check(losses(1.1, 0.5))
    estimates = [learned.observe(losses(2.4, 0.5, count)).loss for count in (50, 100, 1000)]
    assert estimates == sorted(estimates)


def test_movements_within_the_sampling_error_are_not_believed() -> None:
    learned = LossFilter().observe(losses(1.0, 0.5)).check(losses(1.01, 0.5))
    assert learned.loss == pytest.approx(1.0)


def test_losses_without_spread_are_trusted_alone() -> None:
    learned = LossFilter().observe(torch.full((10,), 1.0))
    assert learned.check(torch.full((10,), 2.5)).loss == 2.5
    assert learned.observe(torch.full((10,), 1.0)).loss == 1.0


def test_no_losses_change_nothing() -> None:
    learned = LossFilter().observe(losses(1.0, 0.5))
    assert learned.observe(torch.empty(0)) == learned


def test_it_errs_less_than_what_is_measured_and_than_what_was_known() -> None:
    """A loss that wanders, measured on 50 examples at a time."""
    generator = torch.Generator().manual_seed(0)
    drift, spread, examples = 0.05, 0.7, 50
    truth, learned = 1.0, LossFilter(1.0, 0.0)
    errors: dict[str, list[float]] = {"filtered": [], "measured": [], "known": []}
    for _ in range(3000):
        truth += drift * float(torch.randn((), generator=generator))
        seen = truth + spread * torch.randn(examples, generator=generator)
        errors["known"].append((learned.loss - truth) ** 2)
        learned = learned.check(seen)
        errors["filtered"].append((learned.loss - truth) ** 2)
        errors["measured"].append((float(seen.mean()) - truth) ** 2)
    means = {name: sum(values) / len(values) for name, values in errors.items()}
    assert means["filtered"] < 0.6 * means["measured"]
    assert means["filtered"] < 0.8 * means["known"]
