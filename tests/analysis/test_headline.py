"""The first sentence of a report, over one seed and over several."""

import polars as pl
import pytest

from crest.analysis.comparison import summarise
from crest.analysis.headline import headline
from crest.analysis.seeds import SEEDS, over_seeds
from tests.analysis.test_comparison import FULL, RANDOM, row

NO_SEEDS = pl.DataFrame(schema=dict(SEEDS))


def said(*rows, seeds=NO_SEEDS, test_examples=10_000):
    return headline(summarise(rows), seeds, test_examples)


def seeded(**accuracies):
    return over_seeds(
        [
            {"method": method, "seed": seed, "accuracy": accuracy, "seconds": 1.0}
            for method, values in accuracies.items()
            for seed, accuracy in enumerate(values)
        ]
    )


def test_the_one_ahead_is_held_against_random() -> None:
    others = [row("crest", 0.7, 40.0), row("focused", 0.65, 9.0)]
    assert said(*others, RANDOM, FULL) == (
        "Of crest, focused and random at 10.0% of full training's steps, crest is ahead with "
        "70.0%, 10.0 points above random: more than chance among the test examples (two standard "
        "errors), but not tried with further seeds. Full training reached 80.0%."
    )


@pytest.mark.parametrize("rows", [(RANDOM,), ()])
def test_random_ahead_or_absent_is_held_against_the_next(rows) -> None:
    found = said(row("crest", 0.59, 40.0), row("focused", 0.58, 9.0), *rows, test_examples=100)
    above = ("random", "crest") if rows else ("crest", "focused")
    assert f"{above[0]} is ahead" in found
    assert f"1.0 points above {above[1]}: 100 test examples cannot tell that from chance." in found
    assert "Full training" not in found


def test_equal_methods_are_level() -> None:
    found = said(row("crest", 0.6, 40.0), row("focused", 0.6002, 9.0), RANDOM)
    assert "focused, crest and random are level at 60.0%." in found


def test_methods_of_other_budgets_have_none_in_common() -> None:
    found = said(row("crest", 0.7, 40.0, steps=50), RANDOM)
    assert found.startswith("Of crest and random, crest is ahead")


def test_one_method_is_compared_with_nothing() -> None:
    assert said(RANDOM) == "random reached 60.0% at 10.0% of full training's steps."
    assert said(FULL) == "Full training alone was run: 80.0%."
    assert said(row("replay", 0.5, 1.0, reused=True)) == ""


@pytest.mark.parametrize(
    ("crest", "certainty"),
    [
        ((0.62, 0.63, 0.65), "over 3 seeds that is not by chance (95%)"),
        ((0.60, 0.63, 0.70), "over 3 seeds chance may account for that (95%)"),
    ],
)
def test_seeds_decide_where_there_are_some(crest, certainty) -> None:
    seeds = seeded(crest=crest, random=(0.60, 0.61, 0.62))
    found = said(row("crest", 0.5, 40.0), RANDOM, seeds=seeds, test_examples=100)
    mean = sum(crest) / 3
    assert f"crest is ahead with {mean:.1%}, {100 * (mean - 0.61):.1f} points above random" in found
    assert certainty in found


def test_random_ahead_over_seeds_is_told_by_the_same_pairs() -> None:
    seeds = seeded(crest=(0.50, 0.52, 0.53), random=(0.60, 0.61, 0.62))
    found = said(row("crest", 0.7, 40.0), RANDOM, seeds=seeds)
    assert "random is ahead" in found
    assert "over 3 seeds that is not by chance" in found
