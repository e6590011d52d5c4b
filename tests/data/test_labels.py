from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crest.data.labels import encode_labels, hold_out, read_labels
from crest.data.sources import Source
from crest.errors import DataError, ParameterError


@dataclass
class Labelled:
    """A reader that has labels only."""

    values: pl.Series
    name: str

    def __len__(self):
        return len(self.values)

    def labels(self):
        return self.values

    def label_at(self, row):
        return f"{self.name}, row {row}"


def source(train, test=None, names=None, expected=None):
    test = train if test is None else test
    return Source(
        Labelled(pl.Series(train), "train"), Labelled(pl.Series(test), "test"), names, expected
    )


def test_integers_are_their_own_numbers():
    encoded = encode_labels(source([2, 0, 1, 1], [1, 2]))
    assert encoded.train.tolist() == [2, 0, 1, 1]
    assert encoded.splits["test"].tolist() == [1, 2]
    assert encoded.train.dtype == np.int64
    assert encoded.classes == ["0", "1", "2"]


def test_strings_are_numbered_alphabetically():
    encoded = encode_labels(source(["dog", "cat", "ape", "cat"], ["dog", "ape"]))
    assert encoded.classes == ["ape", "cat", "dog"]
    assert encoded.train.tolist() == [2, 1, 0, 1]
    assert encoded.splits["test"].tolist() == [2, 0]


def test_strings_are_numbered_by_known_names():
    encoded = encode_labels(source(["b", "a"], names=("b", "a")))
    assert encoded.train.tolist() == [0, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=3), min_size=2).filter(lambda x: len(set(x)) > 1))
def test_class_names_give_the_strings_back(labels):
    encoded = encode_labels(source(labels))
    assert [encoded.classes[number] for number in encoded.train] == labels


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.Int32, pl.UInt64])
def test_every_integer_type_will_do(dtype):
    assert encode_labels(source(pl.Series([0, 1], dtype=dtype))).train.tolist() == [0, 1]


def test_the_source_names_the_classes_before_the_data_set_does():
    encoded = encode_labels(source([0, 1], names=("x", "y"), expected=("a", "b")))
    assert encoded.classes == ["x", "y"]
    assert encode_labels(source([0, 1], expected=("a", "b"))).classes == ["a", "b"]
    assert encode_labels(source([0, 1], expected=2)).classes == ["0", "1"]


def test_fewer_classes_can_be_chosen():
    assert encode_labels(source([0, 1], names=("x", "y", "z")), 2).classes == ["x", "y"]
    assert encode_labels(source([0, 1]), 2).classes == ["0", "1"]


BAD = {
    "null": (source([0, None, 1]), "^train, row 1: the label is null; label the row"),
    "null in test": (source([0, 1], [0, None]), "^test, row 1: the label is null"),
    "null string": (source(["a", "b", None]), "^train, row 2: the label is null"),
    "nan": (source([0.0, float("nan")]), "^train, row 1: the label is NaN"),
    "float": (source([0.5, 1.0]), r"^train, row 0: the label is 0.5 \(Float64\); labels are int"),
    "boolean": (source([True, False]), "^train, row 0: the label is True"),
    "negative": (source([0, 1, -1]), "^train, row 2: the label is negative"),
    "gap": (source([0, 1, 3, 3]), "^train, row 2: train has 3 different labels, but not 0 to 2"),
    "from one": (source([1, 2]), "^train, row 0: train has 2 different labels, but not 0 to 1"),
    "huge": (source([0, 1, 2**62]), "^train, row 2: train has 3 different labels"),
    "outside": (source([0, 1, 2], expected=2), "^train, row 2: .* outside the classes 0 to 1"),
    "new in test": (source([0, 1], [0, 1, 5]), "^test, row 2: .* outside the classes 0 to 1"),
    "-1 in test": (source([0, 1], [-1]), "^test, row 0: .* outside the classes 0 to 1"),
    "new string": (source(["a", "b"], ["c"]), "^test, row 0: .* none of the classes: a, b"),
    "absent": (source([0, 2], expected=3), "^train, row 0: 1 of 3 classes have no .* example: 1"),
    "one class": (source([0, 0]), "^train, row 0: all labels are the same"),
    "one string": (source(["a"]), "^train, row 0: all labels are the same"),
    "two types": (source([0, 1], ["0", "1"]), "^test, row 0: labels are String, those of train"),
    "names": (source([0, 1], names=("a", "b"), expected=3), "names 2 classes, this data set has 3"),
    "empty train": (source(pl.Series([], dtype=pl.Int64), [0]), "^the train split is empty"),
    "empty test": (source([0, 1], pl.Series([], dtype=pl.Int64)), "^the test split is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_are_refused(case):
    bad, message = BAD[case]
    with pytest.raises(DataError, match=message):
        encode_labels(bad)


@pytest.mark.parametrize(
    ("good", "classes", "message"),
    [
        (source([0, 1], names=("a", "b")), 3, "^prepare.classes: 3, but there are 2 classes"),
        (source(["a", "b"]), 3, "^prepare.classes: 3, but train has 2: a, b"),
    ],
)
def test_a_number_of_classes_that_cannot_be_is_refused(good, classes, message):
    with pytest.raises(ParameterError, match=message):
        encode_labels(good, classes)


def test_labels_are_read_as_they_are():
    labels = pl.Series([3, 1])
    assert read_labels(Labelled(labels, "train"), "train").equals(labels)


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(8, 60), min_size=2, max_size=6),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**31),
)
def test_each_class_gives_the_same_share(counts, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    held = hold_out(labels, share, seed)
    found = np.bincount(labels[held], minlength=len(counts))
    assert (np.abs(found - share * np.array(counts)) <= 0.5 + 1e-9).all()
    assert np.array_equal(held, hold_out(labels, share, seed))


def test_another_seed_holds_out_others():
    labels = np.repeat([0, 1], 50)
    assert not np.array_equal(hold_out(labels, 0.5, 0), hold_out(labels, 0.5, 1))


def test_every_example_is_equally_likely_to_be_held_out():
    labels = np.array([0, 1, 1, 0, 1, 1, 0, 0])
    drawn = np.mean([hold_out(labels, 0.25, seed) for seed in range(800)], axis=0)
    assert np.abs(drawn - 0.25).max() < 0.07


def test_no_share_holds_out_nothing():
    assert not hold_out(np.array([0, 1]), 0.0, 0).any()


@pytest.mark.parametrize(
    ("share", "message"),
    [(0.01, "0.01 of 4 examples a class is none"), (0.9, "every example of class 0, which has 4")],
)
def test_a_share_that_empties_something_is_refused(share, message):
    with pytest.raises(ParameterError, match=f"^prepare.validation: .*{message}"):
        hold_out(np.repeat([0, 1], 4), share, 0)
