"""Which classes are taken for which, against counts by hand."""

import numpy as np
import polars as pl
import pytest

from crest.analysis.confusion import by_class, matrix, most_confused

LABELS = [0, 0, 0, 1, 1, 2]
PREDICTIONS = [0, 1, 1, 1, 0, 2]
NAMES = ["zero", "one", "two", "three"]


@pytest.fixture
def counts():
    return matrix(pl.DataFrame({"label": LABELS, "prediction": PREDICTIONS}), 4)


def test_examples_are_counted_by_class_and_by_what_they_are_taken_for(counts) -> None:
    assert counts.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_each_class_has_each_methods_accuracy(counts) -> None:
    whole = np.diag(counts.sum(1))
    rows = by_class({"crest": counts, "full": whole}, NAMES)
    assert [(row.name, row.examples) for row in rows] == list(zip(NAMES, [3, 2, 1, 0], strict=True))
    assert [list(row.accuracies) for row in rows] == [
        [pytest.approx(1 / 3), 1.0],
        [0.5, 1.0],
        [1.0, 1.0],
        [None, None],
    ]


def test_of_many_classes_the_worst_are_named(counts) -> None:
    assert [row.name for row in by_class({"crest": counts}, NAMES, most=2)] == ["zero", "one"]


def test_the_most_frequent_mistakes_come_first_and_what_is_right_is_none(counts) -> None:
    pairs = [(one.name, one.taken_for, one.examples) for one in most_confused(counts, NAMES)]
    assert pairs == [("zero", "one", 2), ("one", "zero", 1)]
    assert most_confused(counts, NAMES)[0].share == pytest.approx(2 / 3)
    assert len(most_confused(counts, NAMES, most=1)) == 1
