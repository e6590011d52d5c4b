"""T1 and P."""

import math

import pytest

from crest.regions.interval import check_interval, minibatch_count, whole_subsets


@pytest.mark.parametrize(
    ("factor", "first", "norm", "longest", "expected"),
    [
        (1.0, 8.0, 8.0, 100, 1),
        (1.0, 8.0, 2.0, 100, 4),
        (10.0, 8.0, 8.0, 100, 10),
        (1.0, 1.0, 50.0, 100, 1),  # never below one step
        (1.0, 8.0, 0.001, 100, 100),  # never beyond the end of training
        (1.0, 8.0, 0.0, 100, 100),  # no curvature
        (1.0, 0.0, 0.0, 100, 100),
        (1.0, 8.0, 1e-320, 100, 100),  # a quotient that is no number any more
        (1.0, math.inf, 8.0, 100, 100),
        (1.0, 8.0, math.inf, 100, 1),
        (1.0, math.inf, math.inf, 100, 1),
    ],
)
def test_check_interval(
    factor: float, first: float, norm: float, longest: int, expected: int
) -> None:
    assert check_interval(factor, first, norm, longest) == expected


def test_minibatch_count() -> None:
    assert [minibatch_count(5.0, interval) for interval in (1, 2, 7)] == [5, 10, 35]
    assert minibatch_count(0.1, 1) == 1


@pytest.mark.parametrize(
    ("interval", "each", "longest", "expected"),
    [(1, 1, 9, 1), (3, 1, 9, 3), (1, 4, 9, 4), (5, 4, 9, 4), (7, 4, 9, 8), (7, 4, 6, 6)],
)
def test_whole_subsets(interval: int, each: int, longest: int, expected: int) -> None:
    assert whole_subsets(interval, each, longest) == expected
