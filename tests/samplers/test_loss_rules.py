"""Rules by name: their options, and what chances they give."""

import pytest
import torch

from crest.errors import ParameterError
from crest.samplers.loss_rules import RULES, build_rule
from crest.samplers.rounds import Focus

LOSSES = torch.tensor([0.0, 0.5, 1.0, 4.0, torch.nan])


@pytest.mark.parametrize("name", RULES)
def test_a_rule_without_options_is_there_by_its_name(name) -> None:
    rule = build_rule(name, {})
    assert rule.needs_losses == (name == "focused")
    assert RULES[name].stratified == (name == "stratified")


@pytest.mark.parametrize("name", ["random", "stratified"])
def test_without_a_rule_for_losses_all_take_part(name) -> None:
    assert build_rule(name, {}).chances(LOSSES, 0.5) is None


def test_focused_is_the_focus_of_the_method_until_its_share_of_the_steps() -> None:
    rule = build_rule("focused", {"exponent": 1.0, "floor": 0.1, "ceiling": 2.0, "until": 0.6})
    expected = Focus(1.0, 0.1, 2.0).chances(LOSSES)
    assert torch.equal(rule.chances(LOSSES, 0.59), expected)
    assert rule.chances(LOSSES, 0.6) is None


def test_before_any_loss_is_known_all_take_part() -> None:
    assert build_rule("focused", {}).chances(torch.full((3,), torch.nan), 0.0) is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focus", {}, "rule: 'focus' is not one of random, stratified, focused"),
        ("random", {"floor": 0.5}, "'random' has no option 'floor'"),
        ("focused", {"flor": 0.5}, "'focused' has no option 'flor'; did you mean 'floor'"),
        ("focused", {"exponent": -1.0}, "exponent: must be a number from 0 to 100"),
        ("focused", {"until": True}, "until: must be a number from 0 to 1, not True"),
        ("focused", {"ceiling": 0.0}, "ceiling: must be a number from"),
    ],
)
def test_what_cannot_be_is_refused(name, options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        build_rule(name, options)
