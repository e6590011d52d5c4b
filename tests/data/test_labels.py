from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crest.data.class_names import spelling_key
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
@given(st.lists(st.text(min_size=1, max_size=3).filter(str.strip), min_size=2))
def test_class_names_give_the_strings_back(labels):
    keys = {label: spelling_key(label) for label in labels}
    if len(set(keys.values())) < 2:
        return
    encoded = encode_labels(source(labels))
    found = [encoded.classes[number] for number in encoded.train]
    assert [spelling_key(name) for name in found] == list(map(keys.__getitem__, labels))
    if len(set(keys.values())) == len(keys):
        assert found == labels


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
    "blank": (source(["a", "b", " "]), "^train, row 2: the label is blank; label the row"),
    "float": (source([1.0, 0.5]), r"^train, row 1: the label is 0.5 \(Float64\); labels are whole"),
    "endless": (source([1.0, float("inf")]), r"^train, row 1: the label is inf \(Float64\)"),
    "negative": (source([0, 1, -1]), "^train, row 2: the label is negative"),
    "-1 among names": (
        source([0, 1, -1], names=("a", "b")),
        "^train, row 2: the label is -1, which stands for none; label the row or remove it",
    ),
    "too wide": (
        source(pl.Series([0, 2**64 - 1], dtype=pl.UInt64)),
        r"^train, row 1: the label is 18446744073709551615 \(UInt64\); a label has 64 bits",
    ),
    "wider still": (
        source(pl.Series([0, -(2**100)], dtype=pl.Int128)),
        r"^train, row 1: the label is -1267650600228229401496703205376 \(Int128\); a label has 64",
    ),
    "list": (source([[0, 1], [1, 0]]), r"^train, row 0: the label is \[0, 1\] \(List"),
    "date": (source([date(2020, 1, 1)]), r"^train, row 0: the label is datetime.date"),
    "one of names": (source([1, 1], names=("a", "b")), "^train, row 0: all labels are the same"),
    "gap": (source([0, 1, 3, 3]), "^train, row 2: train has 3 different labels, but not 0 to 2"),
    "huge": (source([0, 1, 2**62]), "^train, row 2: train has 3 different labels"),
    "outside": (source([0, 1, 2], expected=2), "^train, row 2: .* outside the classes 0 to 1"),
    "new in test": (source([0, 1], [0, 1, 5]), "^test, row 2: .* outside the classes 0 to 1"),
    "-1 in test": (source([0, 1], [0, -1]), "^test, row 1: the label is -1, which stands for none"),
    "all -1": (
        source([0, 1], [-1, -1]),
        "^test, row 0: the test split has no labels, as those of a hidden test set; set "
        "prepare.test_share, such as 0.1, to hold out a share of train$",
    ),
    "all null": (source([0, 1], [None, None]), "^test, row 0: the test split has no labels"),
    "all blank": (source(["a", "b"], ["", " "]), "^test, row 0: the test split has no labels"),
    "new string": (
        source(["a", "b"], ["c"]),
        "^test, row 0: the label is 'c', none .*: a, b; c",
    ),
    "other case": (source(["a", "b"], ["A"]), r"^test, row 0: the label is 'A', .* \(is it a\?\)"),
    "no width": (source(["a", "b"], ["a\u200d"]), r"^test, row 0: the label is 'a\\u200d', none"),
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


def spare(found):
    return replace(source([0, 1], [-1, -1]), spare=lambda: found)


def test_a_split_without_labels_points_at_one_that_has_some():
    message = "set prepare.test_split=dev, which is there, or set prepare.test_share, such as 0.1"
    with pytest.raises(DataError, match=message):
        encode_labels(spare("dev"))


@pytest.mark.parametrize(
    ("labels", "expected", "names", "numbers"),
    [
        ([1, 2, 3, 1], None, ["1", "2", "3"], [0, 1, 2, 0]),
        ([101, 100, 100], None, ["100", "101"], [1, 0, 0]),
        ([2**62, 2**62 + 1], None, [str(2**62), str(2**62 + 1)], [0, 1]),
        ([1, 2, 3], 3, ["1", "2", "3"], [0, 1, 2]),
        ([True, False], None, ["0", "1"], [1, 0]),
        ([0.0, 1.0, 2.0], None, ["0", "1", "2"], [0, 1, 2]),
        ([Decimal("1.00"), Decimal("0.00")], None, ["0", "1"], [1, 0]),
        (pl.Series(["b", "a"], dtype=pl.Categorical), None, ["a", "b"], [1, 0]),
        (pl.Series(["b", "a"], dtype=pl.Enum(["b", "a"])), None, ["a", "b"], [1, 0]),
    ],
)
def test_usual_ways_to_number_classes_are_taken(labels, expected, names, numbers):
    encoded = encode_labels(source(labels, expected=expected))
    assert encoded.classes == names
    assert encoded.train.tolist() == encoded.splits["test"].tolist() == numbers


def test_numbers_that_begin_elsewhere_are_renumbered_and_said():
    assert encode_labels(source([1, 2])).notes == ("labels 1 to 2 are numbered 0 to 1",)
    with pytest.raises(DataError, match=r"^test, row 1: the label is 0, outside the classes 1 to"):
        encode_labels(source([1, 2], [1, 0]))
    assert encode_labels(source([0, 1])).notes == ()


def test_classes_without_training_examples_stay_and_are_said():
    encoded = encode_labels(source([0, 2], [0, 1], names=("a", "b", "c")))
    assert encoded.classes == ["a", "b", "c"]
    assert encoded.train.tolist() == [0, 2]
    assert encoded.splits["test"].tolist() == [0, 1]
    assert encoded.notes == ("1 of 3 classes have no training example: b",)


def test_what_a_gap_advises_leads_on():
    gap = source([0, 1, 3, 3])
    with pytest.raises(DataError, match=r"renumber them without gaps, or set prepare.classes to 4"):
        encode_labels(gap)
    encoded = encode_labels(gap, 4)
    assert encoded.train.tolist() == [0, 1, 3, 3]
    assert encoded.notes == ("1 of 4 classes have no training example: 2",)


def test_what_a_label_beyond_the_classes_advises_leads_on():
    beyond = source([0, 1, 1, 0], [0, 3, 1])
    with pytest.raises(DataError, match=r"correct it, or set prepare.classes to 4 where it is one"):
        encode_labels(beyond)
    assert encode_labels(beyond, 4).splits["test"].tolist() == [0, 3, 1]
    with pytest.raises(DataError, match=r"correct it, or set prepare.classes to null"):
        encode_labels(beyond, 2)


def test_ways_to_write_a_name_are_one_class():
    composed, decomposed = "\u00e9t\u00e9", "e\u0301te\u0301"
    encoded = encode_labels(source(["bee", decomposed], [composed, "bee", f" {composed}"]))
    assert encoded.classes == ["bee", decomposed]
    assert encoded.splits["test"].tolist() == [1, 0, 1]
    both = encode_labels(source([composed, "bee", decomposed, "bee "]))
    assert both.classes == ["bee", composed]
    assert both.train.tolist() == [1, 0, 1, 0]
    assert both.notes == (
        "labels bee, 'bee ' are taken for one class: they differ in white space or Unicode form "
        "only",
        f"labels 'e\\u0301te\\u0301', {composed} are taken for one class: they differ in white "
        "space or Unicode form only",
    )


def test_names_that_differ_in_case_are_two_classes_and_said():
    encoded = encode_labels(source(["a", "A"]))
    assert encoded.classes == ["A", "a"]
    assert encoded.notes == ("classes that differ in case only: A and a",)


def test_strings_and_numbers_go_together_where_the_classes_are_named():
    encoded = encode_labels(source([0, 1], ["b", "a"], names=("a", "b")))
    assert encoded.splits["test"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("good", "classes", "message"),
    [
        (source([0, 1]), 10**8, "^prepare.classes: 100000000, but train has 2 examples, of 2 cl"),
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
