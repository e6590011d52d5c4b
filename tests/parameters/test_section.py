"""Sections: keys in groups, and what they are called as options."""

from crest.methods.crest import CrestParameters
from crest.methods.focused import FocusedParameters
from crest.parameters.section import Section, flat, key, keys_of, nested, options_of, put


class Group(Section):
    """a group"""

    one: int = key(1, "the first")
    two: int = key(2, "the second", option="second")


class Whole(Section):
    """a section"""

    plain: str = key("text", "some text")
    group: Group = Group()


def test_keys_of_groups_go_by_the_group_and_their_name():
    assert list(keys_of(Whole)) == ["plain", "group.one", "group.two"]
    assert keys_of(Whole)["group.one"].description == "the first"
    assert options_of(Whole) == {"plain": "plain", "group_one": "group.one", "second": "group.two"}


def test_options_and_sections_are_turned_into_each_other():
    values = nested(Whole, {"plain": "x", "group_one": 3, "second": 4})
    assert values == {"plain": "x", "group": {"one": 3, "two": 4}}
    assert flat(Whole.model_validate(values)) == {"plain": "x", "group_one": 3, "second": 4}
    assert nested(Whole, {"group": {"one": 3}, "second": 4}) == {"group": {"one": 3, "two": 4}}
    assert nested(Whole, {"unknown": 1}) == {"unknown": 1}


def test_the_options_of_crest_keep_their_names():
    assert {"subset_size", "focus", "focus_until", "learned_loss", "curvature_interval"} <= set(
        options_of(CrestParameters)
    )
    assert {"gradient", "quadratic", "order", "region_loss", "hutchinson_draws"} <= set(
        options_of(CrestParameters)
    )


def test_a_group_that_methods_share_has_the_defaults_of_each():
    assert CrestParameters().focus.until == 1.0
    assert FocusedParameters().focus.until == 0.85
    crest, focused = keys_of(CrestParameters), keys_of(FocusedParameters)
    for name in ("exponent", "floor", "ceiling", "until"):
        assert crest[f"focus.{name}"].description == focused[f"focus.{name}"].description


def test_a_key_is_put_into_its_groups():
    values = {"crest": {"learned": {"loss": 0.1}}}
    put(values, "crest.learned.window", 3)
    put(values, "train.lr", 0.2)
    assert values == {"crest": {"learned": {"loss": 0.1, "window": 3}}, "train": {"lr": 0.2}}
