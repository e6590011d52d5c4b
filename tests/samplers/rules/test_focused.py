"""Focused: when its focus begins, and how strong it is then."""

import pytest
import torch

from crest.samplers.loss_history import LossHistory
from crest.samplers.rounds import Focus
from crest.samplers.rules import Observed, build_rule
from crest.samplers.rules.focused import strength_of
from tests.samplers.rules.rounds import generator

FIRST = torch.rand(3000, generator=generator(1)) + 1.5
RULE = build_rule("focused", {})


def after(*losses: torch.Tensor) -> Observed:
    """Return what is known after all examples had these losses, one after another."""
    history = LossHistory(len(losses[0]), RULE)
    for values in losses:
        history.remember(torch.arange(len(values)).unsqueeze(0), values.unsqueeze(0))
    return history.observed(0.5, len(losses), None)


@pytest.mark.parametrize("share", [0.5, 0.51, 1.0, 3.0])
def test_before_the_mean_loss_has_halved_all_take_part(share) -> None:
    assert RULE.draw(after(FIRST, 0.1 * FIRST, share * FIRST), generator()) is None


@pytest.mark.parametrize(
    ("share", "strength"), [(0.45, 0.2), (0.375, 0.5), (0.25, 1.0), (0.01, 1.0)]
)
def test_from_there_on_the_lowest_chance_falls_to_the_floor(share, strength) -> None:
    last = FIRST.pow(4)
    last *= share * FIRST.mean() / last.mean()
    drawn = RULE.draw(after(FIRST, last), generator())
    chances = Focus(0.5, 1 - 0.75 * strength).chances(last)
    expected = (torch.rand(3000, generator=generator()) < chances).nonzero().flatten()
    assert torch.equal(drawn.members.long(), expected)


def test_noise_that_stays_is_drawn_no_more_often_whatever_its_outliers() -> None:
    first, last = (torch.randn(3000, generator=generator(seed)).square() for seed in (1, 2))
    first[:150], last[:150] = 64.0, 64.0
    assert RULE.draw(after(first, 0.6 * last), generator()) is None


def test_examples_without_a_loss_do_not_count_and_take_part() -> None:
    known = torch.arange(3000) % 3 > 0
    first = torch.where(known, FIRST, torch.nan)
    observed = after(first, 0.3 * first)
    assert strength_of(observed, 0.5) == pytest.approx(0.8, abs=1e-6)
    members = RULE.draw(observed, generator()).members.long()
    assert set((~known).nonzero().flatten().tolist()) <= set(members.tolist())


def test_losses_of_zero_from_the_first_need_no_focus() -> None:
    assert RULE.draw(after(torch.zeros(10)), generator()) is None


def test_without_an_onset_the_focus_is_there_at_once_and_nothing_more_is_remembered() -> None:
    rule = build_rule("focused", {"onset": None})
    assert not rule.columns
    drawn = rule.draw(after(FIRST), generator())
    chances = Focus(0.5, 0.25).chances(FIRST)
    expected = (torch.rand(3000, generator=generator()) < chances).nonzero().flatten()
    assert torch.equal(drawn.members.long(), expected)
