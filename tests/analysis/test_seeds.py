"""Means, deviations and paired differences over seeds, against numbers by hand and scipy's."""

import math
from statistics import fmean, stdev

import pytest

from crest.analysis.seeds import T, format_seeds, over_seeds, points, verdict

ACCURACIES = {
    "random": {0: 0.80, 1: 0.82, 2: 0.84},
    "crest": {0: 0.83, 1: 0.84, 2: 0.875, 3: 0.5},
    "full": {0: 0.9},
}


def runs(accuracies=ACCURACIES):
    return [
        {"method": method, "seed": seed, "accuracy": accuracy, "seconds": 10.0 + seed}
        for method, found in accuracies.items()
        for seed, accuracy in found.items()
    ]


def test_a_row_has_the_mean_the_deviation_and_the_differences_of_equal_seeds() -> None:
    random, crest, full = over_seeds(runs()).to_dicts()
    assert (random["seeds"], random["pairs"], random["difference"]) == (3, 0, None)
    assert random["accuracy"] == pytest.approx(0.82)
    assert random["deviation"] == pytest.approx(0.02)
    assert random["seconds"] == pytest.approx(11.0)
    assert (crest["seeds"], crest["pairs"]) == (4, 3)
    differences = [0.03, 0.02, 0.035]
    assert crest["difference"] == pytest.approx(fmean(differences))
    assert crest["error"] == pytest.approx(stdev(differences) / math.sqrt(3))
    assert crest["is_clear"] is True
    assert (full["seeds"], full["deviation"], full["pairs"]) == (1, None, 1)
    assert (full["difference"], full["error"]) == (pytest.approx(0.1), None)


def test_nothing_is_said_over_seeds_of_single_runs() -> None:
    assert over_seeds(runs({"random": {0: 0.5}, "crest": {0: 0.6}})).is_empty()


def test_a_difference_that_is_within_its_interval_may_be_chance() -> None:
    crest = {0: 0.83, 1: 0.81, 2: 0.86}
    row = over_seeds(runs({"random": ACCURACIES["random"], "crest": crest})).to_dicts()[1]
    assert row["is_clear"] is False
    assert verdict(row) == (
        "Over 3 seeds, crest is 1.33 ± 1.20 points more accurate than random mini-batches with "
        "the same seeds (mean and standard error of the differences), which chance may account "
        "for (95%)."
    )


def test_runs_that_differ_always_by_as_much_say_nothing_of_chance() -> None:
    shifted = {seed: value - 0.01 for seed, value in ACCURACIES["random"].items()}
    row = over_seeds(runs({"random": ACCURACIES["random"], "crest": shifted})).to_dicts()[1]
    assert row["is_clear"] is None
    assert "1.00 ± 0.00 points less accurate" in (verdict(row) or "")


def test_runs_that_are_equal_on_average_are_neither_more_nor_less_accurate() -> None:
    crest = {0: 0.81, 1: 0.82, 2: 0.83}
    row = over_seeds(runs({"random": ACCURACIES["random"], "crest": crest})).to_dicts()[1]
    assert (verdict(row) or "").startswith(
        "Over 3 seeds, crest is as accurate, within 0.00 ± 0.58 points, as random mini-batches"
    )


def test_nothing_is_said_of_full_which_takes_more_steps() -> None:
    full = {0: 0.9, 1: 0.91}
    row = over_seeds(runs({"random": ACCURACIES["random"], "full": full})).to_dicts()[1]
    assert row["pairs"] == 2
    assert verdict(row) is None


def test_the_quantiles_are_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = [round(float(stats.t.ppf(0.975, df)), 3) for df in range(1, 31)]
    assert list(T) == expected


def test_the_table_is_aligned_and_says_what_is_not_known() -> None:
    head, random, crest, full = format_seeds(over_seeds(runs())).splitlines()
    assert head.split("  ")[0] == "Method"
    assert random.split() == ["random", "3", "82.00%", "2.00%", "–", "11.0"]
    assert crest.split() == ["crest", "4", "76.12%", "17.52%", "+2.83", "±", "0.44", "11.5"]
    assert full.split() == ["full", "1", "90.00%", "–", "+10.00", "10.0"]
    assert points(None, None) == "–"
