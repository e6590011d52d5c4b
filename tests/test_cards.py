"""The cards of docs/rules/ are what `python docs/cards.py` writes, of the rows that are kept."""

import importlib
import math
import re
import sys
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest

from benchmarks.experiments.tables import Group
from crest.methods import METHODS
from crest.methods.by_rule import RuleName
from crest.samplers.loss_history import LossHistory
from crest.samplers.rules import RULES, build_rule

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "rules"
TABLE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
MOST_BYTES = 40_000  # of a picture


@pytest.fixture(scope="module")
def cards():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        yield importlib.import_module("cards")
        for name in ("cards", "rules"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def pages(cards):
    return cards.pages()


def group(accuracies, name="rule", **about):
    rows = [{"seed": seed, "accuracy": one, "name": name} for seed, one in enumerate(accuracies)]
    return Group(tuple(row | about for row in rows))


def test_cards_are_what_the_rows_and_the_code_give(pages) -> None:
    kept = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert kept == pages, "python docs/cards.py"


def test_every_rule_has_a_card_that_the_table_links_to(pages) -> None:
    names = {path.stem for path in pages}
    assert names == {*RULES, "adaptive", "selective_backprop_fresh"}
    assert {name for name in names if f"](rules/{name}.md)" not in TABLE} == set()


def test_every_card_has_a_small_picture(pages) -> None:
    pictures = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert pictures.keys() == {path.stem for path in pages}
    assert {name: size for name, size in pictures.items() if size > MOST_BYTES} == {}


def test_links_of_cards_lead_somewhere(pages) -> None:
    links = {link for text in pages.values() for link in re.findall(r"\]\((?!https)([^)#]+)", text)}
    assert links
    assert {link for link in links if not (FOLDER / link).exists()} == set()


def test_a_link_and_code_are_not_broken_over_lines(cards) -> None:
    text = "of " * 40 + "`--method by_rule -S a=b` and [two words](there)"
    lines = cards.wrapped(text)
    assert any("`--method by_rule -S a=b`" in line for line in lines)
    assert any("[two words](there)" in line for line in lines)
    assert " ".join(lines) == text


def test_t_values_hold_95_percent_of_the_distribution(cards) -> None:
    for seeds, bound in cards.T_VALUES.items():
        freedom, steps = seeds - 1, 20_000
        scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
        scale /= math.sqrt(freedom * math.pi)
        middles = ((k + 0.5) * bound / steps for k in range(steps))
        half = sum((1 + x * x / freedom) ** (-(freedom + 1) / 2) for x in middles)
        assert 2 * scale * half * bound / steps == pytest.approx(0.95, abs=2e-4)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([0.010, 0.011, 0.012], 1),
        ([-0.010, -0.011, -0.012], -1),
        ([0.010, 0.001, -0.005], 0),
        ([0.010, 0.005, 0.002], 0),  # twice its standard error, which three seeds are too few for
        ([0.010, 0.010, 0.010], 0),  # one image each: no spread to judge by
        ([0.010, 0.011], None),
    ],
)
def test_a_difference_is_told_from_none(cards, gains, expected) -> None:
    random = [0.5, 0.6, 0.7][: len(gains)]
    rule = [a + b for a, b in zip(random, gains, strict=True)]
    assert cards.sign(group(rule), group(random)) == expected


def test_every_card_is_asked_for_by_words_of_its_own(cards) -> None:
    words = [re.search(r"`--method ([^`]+)`", cards.usage(name))[1] for name in cards.PROSE]
    assert len(set(words)) == len(words)
    methods, rules = zip(*(word.partition(" -S by_rule.rule=")[::2] for word in words), strict=True)
    assert set(methods) <= set(METHODS)
    assert {rule for rule in rules if rule} == set(get_args(RuleName))


@pytest.mark.parametrize("name", RULES)
def test_bytes_are_those_that_a_history_takes(cards, name) -> None:
    rule = build_rule(name, {})
    history = LossHistory(7, rule)
    taken = sum(values.nbytes for values in (history.losses, *history.columns.values())) // 7
    assert (f"{taken} bytes an example" in cards.cost(name, [])) == rule.needs_losses


@pytest.mark.parametrize("name", RULES)
def test_every_option_is_described(cards, name) -> None:
    described = {key: text for key, _, text in cards.rule_options(name)}
    assert described.keys() == signature(RULES[name].build).parameters.keys()
    assert all(described.values())


def test_a_run_is_called_by_what_the_names_of_its_budgets_share(cards) -> None:
    run = cards.Run("e", None, (group([1], "random lr 0.1"), group([1], "random 20%, lr 0.1")))
    assert run.name == "random lr 0.1"
    long = (group([1], "adaptive 40%"), group([1], "adaptive 40%, long"))
    assert replace(run, groups=long).name == "adaptive 40%"
    assert replace(run, groups=long[1:]).name == "adaptive 40%, long"


def test_runs_belong_to_the_card_of_their_rule(cards) -> None:
    def card(method, **overrides):
        return cards.card_of(group([1], method=method, overrides=overrides))

    assert card("by_rule") == "infobatch"
    assert card("by_rule", **{"by_rule.rule": "selective_backprop"}) == "selective_backprop"
    assert card("selective_backprop") == "selective_backprop_fresh"
    assert card("stratified") == "stratified"
