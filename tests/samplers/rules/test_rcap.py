"""RCAP: quotas of classes in closed form, and draws within them by the softmax of losses."""

import math

import pytest
import torch

from crest.samplers.rules import build_rule
from crest.samplers.rules.rcap import class_quotas
from tests.samplers.rules.rounds import generator, observed


def test_a_class_has_its_part_by_the_root_of_loss_and_prior() -> None:
    losses, sizes = torch.tensor([0.5, 1.0, 2.0]).double(), torch.tensor([800, 150, 50])
    quotas = class_quotas(losses, sizes, 100)
    roots = [math.sqrt(loss * size) for loss, size in zip(losses, sizes, strict=True)]
    exact = [100 * root / sum(roots) for root in roots]
    assert int(quotas.sum()) == 100
    assert all(abs(a - b) < 1 for a, b in zip(quotas.tolist(), exact, strict=True))


@pytest.mark.parametrize("budget", [0, 1, 201, 500, 999, 1000])
def test_a_class_gives_no_more_than_it_has_and_the_budget_is_met(budget) -> None:
    losses, sizes = torch.tensor([0.1, 1.0, 2.0]).double(), torch.tensor([800, 150, 50])
    quotas = class_quotas(losses, sizes, budget)
    assert int(quotas.sum()) == budget
    assert bool((quotas <= sizes).all())


def test_classes_without_any_loss_have_even_parts() -> None:
    assert class_quotas(torch.zeros(2).double(), torch.tensor([9, 9]), 6).tolist() == [3, 3]


def test_the_first_round_is_that_of_the_prior_alone_as_the_reference_has_it() -> None:
    groups = torch.tensor([0] * 800 + [1] * 150 + [2] * 50)
    drawn = build_rule("rcap", {"share": 0.1}).draw(
        observed(torch.full((1000,), torch.nan), rounds=0, groups=groups), generator()
    )
    # datacull 1.0.2 has 60, 26 and 15: it rounds every class up.
    assert groups[drawn.members].bincount().tolist() == [59, 26, 15]


def test_within_a_class_the_first_draw_is_by_the_softmax_of_clipped_losses() -> None:
    losses = torch.tensor([0.1, 0.3, 5.0, 0.2])
    rule = build_rule("rcap", {"share": 0.25, "temperature": 0.5})
    known, draws = observed(losses, groups=torch.zeros(4, dtype=torch.int64)), generator()
    counts = torch.zeros(4)
    for _ in range(4000):
        counts[rule.draw(known, draws).members] += 1
    expected = (losses.clamp(max=math.log(2)) / 0.5).softmax(0)
    assert torch.allclose(counts / 4000, expected, atol=4 * 0.5 / 4000**0.5)
