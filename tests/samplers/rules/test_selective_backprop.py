"""Selective-Backprop by remembered losses: the chance is the rank of a loss, to a power."""

import pytest
import torch

from crest.samplers.rules import build_rule
from tests.samplers.rules.rounds import generator, observed


@pytest.mark.parametrize("power", [0.0, 1.0, 3.0])
def test_an_example_takes_part_with_the_share_of_smaller_losses_to_the_power(power) -> None:
    losses = torch.tensor([3.0, 1.0, 2.0, 1.0, 4.0])
    smaller = torch.tensor([3, 0, 2, 0, 4]) / 5
    rule, draws, known = build_rule("selective_backprop", {"power": power}), generator(), None
    known = observed(losses)
    counts = torch.zeros(5)
    for _ in range(4000):
        counts[rule.draw(known, draws).members.long()] += 1
    expected = smaller.pow(power)
    assert torch.allclose(counts / 4000, expected, atol=4 * 0.5 / 4000**0.5)
    assert bool((counts[expected == 0] == 0).all())
