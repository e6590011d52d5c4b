"""Importance against its rule, written plainly."""

import pytest
import torch

from crest.samplers.rules import build_rule
from tests.samplers.rules.rounds import generator, observed

LOSSES = torch.rand(1001, generator=generator(5)).pow(3) * 4


def chances(losses: torch.Tensor, share: float, floor: float) -> torch.Tensor:
    """Return min(1, max(floor, g/c)) with the mean ``share``, c by trying many."""
    norms = 1 - (-losses.double()).exp()
    tried = torch.logspace(-3, 2, 20_000, dtype=torch.float64)
    means = [float((norms / c).clamp(floor, 1).mean()) for c in tried.tolist()]
    best = min(range(len(means)), key=lambda place: abs(means[place] - share))
    return (norms / tried[best]).clamp(floor, 1)


@pytest.mark.parametrize(("share", "floor"), [(0.6, 0.25), (0.3, 0.1)])
def test_each_takes_part_with_its_chance_and_counts_one_over_it(share, floor) -> None:
    rule, draws = build_rule("importance", {"share": share, "floor": floor}), generator()
    expected, counts = chances(LOSSES, share, floor), torch.zeros(1001)
    known = observed(LOSSES)
    for _ in range(400):
        drawn = rule.draw(known, draws)
        counts[drawn.members.long()] += 1
        torch.testing.assert_close(
            drawn.weights.double(), share / expected[drawn.members.long()], rtol=1e-3, atol=0.0
        )
    assert (counts / 400 - expected).abs().max() < 4.5 * 0.5 / 20
    assert float(counts.sum() / 400) == pytest.approx(share * 1001, rel=0.01)


def test_the_weighted_mean_is_that_over_all_in_expectation() -> None:
    rule, draws, sums = build_rule("importance", {}), generator(), []
    known = observed(LOSSES)
    for _ in range(400):
        drawn = rule.draw(known, draws)
        sums.append(float((LOSSES[drawn.members.long()] * drawn.weights).sum() / (0.6 * 1001)))
    error = torch.tensor(sums).std() / 20
    assert abs(sum(sums) / 400 - float(LOSSES.mean())) < 4 * error


def test_what_is_unknown_takes_part_and_late_in_training_all_do() -> None:
    rule, losses = build_rule("importance", {"until": 0.9}), LOSSES.clone()
    losses[::2] = torch.nan
    drawn = rule.draw(observed(losses), generator())
    unknown = drawn.members % 2 == 0
    assert int(unknown.sum()) == 501
    torch.testing.assert_close(drawn.weights[unknown], torch.full((501,), 0.6))
    assert rule.draw(observed(LOSSES, progress=0.9), generator()) is None


@pytest.mark.parametrize(("losses", "floor"), [(torch.zeros(2000), 0.25), (LOSSES, 1.0)])
def test_where_no_gradient_is_left_or_the_floor_is_no_lower_it_is_chance(losses, floor) -> None:
    drawn = build_rule("importance", {"floor": floor}).draw(observed(losses), generator())
    torch.testing.assert_close(drawn.weights, torch.ones(len(drawn.members)))
    assert len(drawn.members) == pytest.approx(0.6 * len(losses), rel=0.08)
