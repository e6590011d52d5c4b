"""InfoBatch against its rule, written plainly."""

import pytest
import torch

from crest.samplers.rules import build_rule
from tests.samplers.rules.rounds import generator, observed

LOSSES = torch.rand(1001, generator=generator(5)).pow(3)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.9])
def test_above_the_mean_all_take_part_and_below_it_a_share_that_counts_for_all(ratio) -> None:
    rule = build_rule("infobatch", {"ratio": ratio})
    drawn = rule.draw(observed(LOSSES), generator())
    mean = sum(LOSSES.tolist()) / 1001
    high = {row for row, loss in enumerate(LOSSES.tolist()) if loss >= mean}
    weights = dict(zip(drawn.members.tolist(), drawn.weights.tolist(), strict=True))
    assert high <= weights.keys()
    assert len(weights) == len(high) + round((1 - ratio) * (1001 - len(high)))
    for row, weight in weights.items():
        assert weight == pytest.approx(1.0 if row in high else 1 / (1 - ratio))
    assert sum(weights.values()) == pytest.approx(1001, abs=1 / (1 - ratio))


def test_the_weighted_sum_is_that_over_all_in_expectation() -> None:
    rule, draws = build_rule("infobatch", {"ratio": 0.6}), generator()
    known = observed(LOSSES)
    sums = []
    for _ in range(400):
        drawn = rule.draw(known, draws)
        sums.append(float((LOSSES[drawn.members] * drawn.weights).sum()))
    error = torch.tensor(sums).std() / 20
    assert abs(sum(sums) / 400 - float(LOSSES.sum())) < 4 * error


def test_without_weights_all_count_alike() -> None:
    rule = build_rule("infobatch", {"weights": False})
    assert not rule.weighted
    assert rule.draw(observed(LOSSES), generator()).weights is None


def test_late_in_training_and_where_no_loss_is_below_the_mean_all_take_part() -> None:
    rule = build_rule("infobatch", {})
    assert rule.draw(observed(LOSSES, progress=0.875), generator()) is None
    drawn = rule.draw(observed(torch.ones(7)), generator())
    assert sorted(drawn.members.tolist()) == list(range(7))
    assert drawn.weights.tolist() == [1.0] * 7
