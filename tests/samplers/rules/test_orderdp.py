"""OrderDP: inclusion probabilities against their closed form."""

from math import comb

import torch

from crest.samplers.rules import build_rule
from tests.samplers.rules.rounds import generator, observed

TIMES = 6000


def test_an_example_of_rank_j_takes_part_as_often_as_the_closed_form_says() -> None:
    count, subset, share = 10, 5, 2
    losses = torch.randperm(count, generator=generator(1)).float()
    rule, draws = build_rule("orderdp", {"subset": 0.5, "share": 0.4}), generator()
    known = observed(losses)
    taken = torch.zeros(count)
    for _ in range(TIMES):
        members = rule.draw(known, draws).members
        assert len(members) == share
        taken[members] += 1
    for row, loss in enumerate(losses.tolist()):
        rank = count - int(loss)  # 1 for the highest
        expected = sum(
            comb(rank - 1, higher) * comb(count - rank, subset - 1 - higher) / comb(count, subset)
            for higher in range(share)
        )
        assert abs(float(taken[row]) / TIMES - expected) < 4 * 0.5 / TIMES**0.5


def test_what_was_never_trained_on_counts_as_the_highest() -> None:
    losses = torch.tensor([1.0, torch.nan, 3.0, torch.nan])
    rule = build_rule("orderdp", {"subset": 1.0, "share": 0.5})
    assert sorted(rule.draw(observed(losses), generator()).members.tolist()) == [1, 3]
