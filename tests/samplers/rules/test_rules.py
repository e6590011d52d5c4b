"""Rules by name, their options, and what each holds to whatever it is called."""

from inspect import signature

import pytest
import torch

from crest.config import Parameters
from crest.errors import ParameterError
from crest.parameters.section import flat
from crest.samplers.loss_batches import LossBatchSampler
from crest.samplers.rounds import Focus
from crest.samplers.rules import RULES, build_rule
from tests.samplers.rules.rounds import generator, observed

LOSSES = torch.tensor([0.0, 0.5, 1.0, 4.0, torch.nan])
# Without its onset, which of losses that were seen once takes none for learned.
OPTIONS = {"focused": {"onset": None}}
BY_LOSSES = sorted(RULES.keys() - {"random", "stratified"})


@pytest.mark.parametrize("name", RULES)
def test_a_rule_without_options_is_there_by_its_name(name) -> None:
    rule = build_rule(name, {})
    assert rule.needs_losses == (name in BY_LOSSES)
    assert RULES[name].needs_groups == (name in {"stratified", "rcap"})
    assert bool(rule.columns) == (rule.remember is not None)


@pytest.mark.parametrize("name", ["random", "stratified"])
def test_without_a_rule_for_losses_all_take_part(name) -> None:
    assert build_rule(name, {}).draw(observed(LOSSES), generator()) is None


@pytest.mark.parametrize("name", BY_LOSSES)
def test_a_round_has_each_example_once_and_is_that_of_its_generator(name) -> None:
    rule = build_rule(name, OPTIONS.get(name, {}))
    losses = torch.rand(1000, generator=generator(7)).square()
    known = observed(losses, rule=rule, groups=torch.arange(1000) % 5)
    first, second, other = (rule.draw(known, generator(seed)) for seed in (0, 0, 1))
    assert first is not None
    assert second is not None
    assert torch.equal(first.members, second.members)
    assert other is not None
    members = first.members.long()
    assert len(members.unique()) == len(members) > 100
    assert 0 <= int(members.min()) <= int(members.max()) < 1000
    assert (first.weights is not None) == rule.weighted
    assert torch.equal(known.losses, losses)
    assert not torch.equal(first.members, other.members)


@pytest.mark.parametrize("name", sorted(set(BY_LOSSES) - {"orderdp", "rcap", "seta"}))
def test_what_was_never_trained_on_takes_part(name) -> None:
    rule = build_rule(name, OPTIONS.get(name, {}))
    losses = torch.rand(1000, generator=generator(7))
    losses[::10] = torch.nan
    drawn = rule.draw(observed(losses, rule=rule), generator())
    assert drawn is not None
    assert set(range(0, 1000, 10)) <= set(drawn.members.tolist())


@pytest.mark.parametrize("name", sorted(set(BY_LOSSES) - {"orderdp", "rcap", "seta"}))
def test_before_any_loss_is_known_all_take_part(name) -> None:
    rule = build_rule(name, OPTIONS.get(name, {}))
    assert rule.draw(observed(torch.full((20,), torch.nan), rule=rule), generator()) is None


@pytest.mark.parametrize("name", sorted(set(BY_LOSSES) - {"focused"}))
def test_the_method_of_the_pipeline_has_the_same_options_and_defaults(name) -> None:
    options = flat(getattr(Parameters().by_rule, name))
    defaults = {key: of.default for key, of in signature(RULES[name].build).parameters.items()}
    assert options == defaults


@pytest.mark.parametrize("name", RULES)
def test_no_option_has_the_name_of_an_argument_of_the_sampler_which_would_take_it(name) -> None:
    options = signature(RULES[name].build).parameters.keys()
    assert not options & signature(LossBatchSampler).parameters.keys()


@pytest.mark.parametrize("name", sorted(set(BY_LOSSES) - {"focused"}))
def test_what_the_parameters_allow_the_rule_does_not_refuse(name) -> None:
    """Else a run would fail only once it has read its data, by a key's other name."""
    section = type(getattr(Parameters().by_rule, name))
    for option, field in section.model_fields.items():
        for bound in field.metadata:
            for value in (getattr(bound, "ge", None), getattr(bound, "le", None)):
                if value is not None:
                    build_rule(name, {option: value})


def test_focused_is_the_focus_of_the_method_until_its_share_of_the_steps() -> None:
    options = {"exponent": 1.0, "floor": 0.1, "ceiling": 2.0, "until": 0.6, "onset": None}
    rule = build_rule("focused", options)
    losses = torch.rand(5000, generator=generator(3)).square()
    drawn = rule.draw(observed(losses, progress=0.59), generator())
    chances = Focus(1.0, 0.1, 2.0).chances(losses)
    expected = (torch.rand(5000, generator=generator()) < chances).nonzero().flatten()
    assert torch.equal(drawn.members.long(), expected)
    assert rule.draw(observed(losses, progress=0.6), generator()) is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focus", {}, "rule: 'focus' is not one of random, stratified, focused"),
        ("random", {"floor": 0.5}, "'random' has no option 'floor'"),
        ("focused", {"flor": 0.5}, "'focused' has no option 'flor'; did you mean 'floor'"),
        ("focused", {"exponent": -1.0}, "exponent: must be a number from 0 to 100"),
        ("focused", {"until": True}, "until: must be a number from 0 to 1, not True"),
        ("focused", {"onset": 0.0}, "onset: must be a number from"),
        ("focused", {"ceiling": 0.0}, "ceiling: must be a number from"),
        ("seta", {"clusters": 2.5}, "clusters: must be a whole number from 1 to 1000, not 2.5"),
        ("infobatch", {"weights": "no"}, "weights: must be True or False, not 'no'"),
    ],
)
def test_what_cannot_be_is_refused(name, options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        build_rule(name, options)
