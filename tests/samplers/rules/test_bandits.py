"""ε-greedy and UCB: running means and variances, and who has the highest."""

import pytest
import torch

from crest.samplers.loss_history import LossHistory
from crest.samplers.rules import build_rule
from tests.samplers.rules.rounds import generator

COUNT, BATCH = 40, 8


def trained(rule, batches: int = 30) -> tuple[LossHistory, dict[int, list[float]]]:
    """Return a history of random losses, and the losses of each example in their order."""
    draws = generator(2)
    history = LossHistory(COUNT, rule)
    losses: dict[int, list[float]] = {}
    for _ in range(batches):
        batch = torch.randperm(COUNT, generator=draws)[:BATCH]
        values = torch.rand(BATCH, generator=draws)
        history.remember(batch.unsqueeze(0), values.unsqueeze(0))
        for row, value in zip(batch.tolist(), values.tolist(), strict=True):
            losses.setdefault(row, []).append(value)
    return history, losses


def running(losses: list[float], decay: float) -> tuple[float, float]:
    """Return the running mean and variance, written plainly."""
    mean, variance = losses[0], 0.0
    for loss in losses[1:]:
        variance = (1 - decay) * variance + decay * (loss - mean) ** 2
        mean = (1 - decay) * mean + decay * loss
    return mean, variance


@pytest.mark.parametrize("confidence", [0.0, 1.0, 20.0])
def test_ucb_takes_those_with_the_highest_mean_and_variance(confidence) -> None:
    rule = build_rule("ucb", {"confidence": confidence, "decay": 0.3, "share": 0.25})
    history, losses = trained(rule)
    assert len(losses) == COUNT
    scores = {}
    for row, values in losses.items():
        mean, variance = running(values, 0.3)
        scores[row] = mean + confidence * variance
    expected = sorted(scores, key=scores.__getitem__)[-10:]
    drawn = rule.draw(history.observed(0.5, 3, None), generator())
    assert sorted(drawn.members.tolist()) == sorted(expected)


def test_epsilon_greedy_takes_the_highest_means_and_some_of_the_others() -> None:
    rule = build_rule("epsilon_greedy", {"epsilon": 0.25, "share": 0.5, "decay": 0.3})
    history, losses = trained(rule)
    means = {row: running(values, 0.3)[0] for row, values in losses.items()}
    greedy = set(sorted(means, key=means.__getitem__)[-15:])
    known, draws = history.observed(0.5, 3, None), generator()
    others = set()
    for _ in range(60):
        members = set(rule.draw(known, draws).members.tolist())
        assert len(members) == 20
        assert greedy <= members
        others |= members - greedy
    assert others == set(range(COUNT)) - greedy


def test_columns_survive_a_state_and_batches_count_one_after_another() -> None:
    rule = build_rule("ucb", {})
    history, _ = trained(rule)
    again = LossHistory(COUNT, rule)
    again.load_state_dict(history.state_dict())
    batches = torch.stack([torch.arange(BATCH), torch.arange(BATCH)])
    values = torch.rand(2, BATCH, generator=generator(9))
    history.remember(batches, values)
    for batch, value in zip(batches, values, strict=True):
        again.remember(batch.unsqueeze(0), value.unsqueeze(0))
    assert torch.equal(history.losses, again.losses)
    for name, column in history.columns.items():
        assert torch.equal(column, again.columns[name])


@pytest.mark.parametrize("name", ["ucb", "epsilon_greedy", "orderdp"])
def test_of_equal_losses_each_example_takes_part_now_and_then(name) -> None:
    rule, draws = build_rule(name, {}), generator()
    history = LossHistory(COUNT, rule)
    history.remember(torch.arange(COUNT).unsqueeze(0), torch.ones(1, COUNT))
    known = history.observed(0.5, 3, None)
    taken = {row for _ in range(60) for row in rule.draw(known, draws).members.tolist()}
    assert taken == set(range(COUNT))
