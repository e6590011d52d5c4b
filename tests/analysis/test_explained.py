"""What a report says of pictures that look wrong and are not."""

import polars as pl
import pytest

from crest.analysis.explained import ends_above_threshold, farther_than_random, throughout
from crest.analysis.runs import ANALYSIS_TABLES

FOCUS = {"focus": {"exponent": 0.5, "weights": False}, "choice": "spatially_balanced"}
PLAIN = {"focus": {"exponent": 0.0}, "choice": "spatially_balanced"}
MEDOIDS = {"focus": {"exponent": 0.0}, "choice": "facility_location"}
LOSSES = pl.Series([0.0, 2.0] * 200)  # of one half mean 1, deviation 1


def errors(coreset, random, bias=0.88):
    rows = [
        {"step": step, "group": group, "error": error * step / 20, "bias": bias}
        for step in (10, 20)
        for group, error in (("mini-batch coreset", coreset), ("random mini-batch", random))
    ]
    return pl.DataFrame(rows)


def regions(rho, checks, interval=1):
    rows = [
        {"method": "crest", "region": number, "rho": one, "checks": count, "minibatches": 5,
         "check_interval": interval + number % 2 * (interval > 1)}
        for number, (one, count) in enumerate(zip(rho, checks, strict=True))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides=dict(ANALYSIS_TABLES["regions"]), strict=False)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (FOCUS, "crest.focus has it so on purpose: what is not learned yet is drawn more often, "
         "which leads away from the mean of all data (bias 0.88)"),
        (MEDOIDS, "Medoids err in one direction (bias 0.88)"),
        (PLAIN, "Examples that were dropped as learned count in it"),
        (FOCUS | {"focus": {"exponent": 0.5, "weights": True}}, "Examples that were dropped"),
        ({}, "Examples that were dropped"),
    ],
)  # fmt: skip
def test_farther_coresets_have_their_reason(settings, reason) -> None:
    (found,) = farther_than_random(errors(5.0, 4.4), settings)
    assert found.startswith(
        "At step 20 a coreset is farther from the full gradient than a random mini-batch: 5.00 of "
        f"its norm against 4.40. {reason}"
    )


@pytest.mark.parametrize("table", [errors(4.0, 4.4), errors(4.4, 4.4), errors(5.0, 4.4).clear()])
def test_nearer_coresets_are_not_explained(table) -> None:
    assert farther_than_random(table, FOCUS) == []


def test_every_region_above_the_threshold_is_explained() -> None:
    (found,) = ends_above_threshold(regions([0.1, 0.2, 0.3, None], [3, 4, 1, 1]), 0.05, 100, LOSSES)
    assert found == (
        "Every region ends above τ = 0.05, for what is drawn is the check that ended it; those "
        "that it passed are not."
    )


def test_regions_of_one_check_are_t1s_doing_and_the_error_of_a_mean_is_told() -> None:
    table = regions([0.1, 0.2, 0.3, 0.01], [1, 1, 2, 1])
    (found,) = ends_above_threshold(table, 0.05, 100, LOSSES)
    assert "2 of 3 ended at their first check: how long they last is T1's doing" in found
    assert "the mean loss of r = 100 examples errs by 10% by itself" in found
    (large,) = ends_above_threshold(table, 0.05, 10_000, LOSSES)
    assert "sampling" not in large  # 1%, less than τ


@pytest.mark.parametrize("rho", [[0.1, 0.04, 0.3, 0.2], [0.1, 0.2], [None] * 4])
def test_regions_that_are_not_all_above_are_not_explained(rho) -> None:
    assert ends_above_threshold(regions(rho, [1] * len(rho)), 0.05, 100, LOSSES) == []


def test_what_never_changed_is_said_in_words() -> None:
    assert throughout(regions([0.1, 0.2], [1, 1])) == ["In all 2 regions of crest: T1 = 1, P = 5."]
    assert throughout(regions([0.1, 0.2], [1, 1], interval=4)) == [
        "In all 2 regions of crest: P = 5."
    ]
    assert throughout(regions([None, None], [0, 0])) == []  # of a method without checks
