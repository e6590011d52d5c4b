"""Sizes: shares and counts of examples, held against the data."""

import pytest

from crest.errors import ParameterError
from crest.methods.crest import CrestParameters
from crest.samplers.sizes import count_of, subset_size


@pytest.mark.parametrize(
    ("given", "examples", "count"),
    [(0.01, 50_000, 500), (0.015, 100, 2), (0.001, 100, 1), (7, 100, 7), (200, 100, 200)],
)
def test_a_share_becomes_a_count_of_at_least_one(given, examples, count) -> None:
    assert count_of(given, examples) == count


@pytest.mark.parametrize(("given", "size"), [(0.1, 100), (32, 32), (1000, 1000)])
def test_the_subset_holds_a_minibatch_and_fits_the_data(given, size) -> None:
    assert subset_size(CrestParameters(subset_size=given), 1000, batch_size=32) == size


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.03, r"crest\.subset_size: 0\.03 is 30 of 1000 examples, less than train\.batch_size"),
        (31, r"crest\.subset_size: 31 is 31 of 1000 .* make it larger"),
        (1001, r"crest\.subset_size: 1001 is 1001 of 1000 examples; make it smaller"),
    ],
)
def test_a_subset_that_fits_neither_is_refused(given, expected) -> None:
    with pytest.raises(ParameterError, match=expected):
        subset_size(CrestParameters(subset_size=given), 1000, batch_size=32)
