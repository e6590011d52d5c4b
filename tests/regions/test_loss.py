"""The filtered loss against the closed form, and against the truth in a simulation."""

import pytest
import torch

from crest.regions.loss import LossFilter


def losses(mean: float, spread: float, count: int = 100) -> torch.Tensor:
    """Numbers of exactly this mean and sample deviation."""
    values = torch.linspace(-1.0, 1.0, count).double()
    return mean + spread * values / values.std()


def test_the_gain_is_the_predictions_share_of_the_variance() -> None:
    # R = 0.5² / 100 and e² = 0.1², so that M = 0.0075 and M / (M + R) = 0.75.
    learned = LossFilter().include(1.0, losses(1.1, 0.5))
    assert learned.estimate(2.0, losses(2.4, 0.5)) == pytest.approx(2.0 + 0.75 * 0.4)


def test_more_examples_count_for_more() -> None:
    learned = LossFilter().include(1.0, losses(1.1, 0.5))
    estimates = [learned.estimate(2.0, losses(2.4, 0.5, count)) for count in (50, 100, 1000)]
    assert estimates == sorted(estimates)


def test_predictions_within_the_sampling_error_are_trusted_alone() -> None:
    learned = LossFilter().include(1.0, losses(1.01, 0.5))
    assert learned.estimate(2.0, losses(2.4, 0.5)) == 2.0


def test_losses_without_spread_are_trusted_alone() -> None:
    learned = LossFilter().include(1.0, torch.full((10,), 1.0))
    assert learned.estimate(2.0, torch.full((10,), 2.5)) == 2.5


def test_it_errs_less_than_the_prediction_and_than_the_measurement() -> None:
    """A loss that drifts at random, predicted to stay, measured on 50 examples at a time."""
    generator = torch.Generator().manual_seed(0)
    drift, spread, examples = 0.05, 0.7, 50
    truth, estimate, predicted = 1.0, 1.0, 1.0
    learned = LossFilter()
    errors: dict[str, list[float]] = {"filtered": [], "measured": [], "predicted": []}
    for _ in range(3000):
        truth += drift * float(torch.randn((), generator=generator))
        seen = truth + spread * torch.randn(examples, generator=generator)
        predicted = estimate
        learned = learned.include(predicted, seen)
        estimate = learned.estimate(predicted, seen)
        errors["filtered"].append((estimate - truth) ** 2)
        errors["measured"].append((float(seen.mean()) - truth) ** 2)
        errors["predicted"].append((predicted - truth) ** 2)
    means = {name: sum(values) / len(values) for name, values in errors.items()}
    assert means["filtered"] < 0.6 * means["measured"]
    assert means["filtered"] < 0.8 * means["predicted"]
