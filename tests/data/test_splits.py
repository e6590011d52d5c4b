import numpy as np
import pytest

from crest.data.labels import Encoded, hold_out
from crest.data.splits import divide, write_labels
from crest.errors import ParameterError
from crest.parameters.sections import PrepareParameters

LABELS = np.repeat([0, 1, 2], [40, 20, 10])


def divided(train=LABELS, other=None, **params):
    splits = {"train": np.asarray(train)} | (other or {})
    return divide(Encoded(splits, ["a", "b", "c"]), PrepareParameters(**params))


def counts(rows, labels=LABELS):
    return np.bincount(labels[rows], minlength=3).tolist()


def test_a_tenth_of_each_class_is_held_out_where_there_is_no_test_split():
    division = divided(validation=0.0)
    assert counts(division.parts["train"]["test"]) == [4, 2, 1]
    assert counts(division.parts["train"]["train"]) == [36, 18, 9]
    assert division.notes == ("no test split: 10% of train held out (prepare.test_share)",)


def test_the_share_can_be_set_and_every_row_goes_into_one_split():
    division = divided(test_share=0.25, validation=0.5)
    parts = division.parts["train"]
    assert counts(parts["test"]) == [10, 5, 3]  # halves round up
    assert counts(parts["validation"]) == [15, 8, 4]
    assert (np.sum(list(parts.values()), axis=0) == 1).all()
    assert division.notes == ("test: 25% of train held out (prepare.test_share)",)


def test_the_test_split_depends_on_its_seed_and_not_on_the_validation_share():
    first, same, other = (
        divided(validation=share, seed=seed).parts["train"]["test"]
        for share, seed in ((0.0, 0), (0.3, 0), (0.0, 1))
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_small_classes_give_one_example_and_those_of_one_give_none():
    labels = np.array([0, 0, 1, 1, 1, 2])
    division = divided(labels, validation=0.0)
    assert counts(division.parts["train"]["test"], labels) == [1, 1, 0]


def test_splits_that_are_there_are_taken_whole():
    division = divided(other={"test": np.arange(3), "validation": np.arange(2)})
    assert {name: list(parts) for name, parts in division.parts.items()} == {
        "train": ["train"],
        "test": ["test"],
        "validation": ["validation"],
    }
    assert all(rows.all() for parts in division.parts.values() for rows in parts.values())
    assert division.notes == ()


def test_validation_is_drawn_as_ever_where_there_is_a_test_split():
    parts = divided(other={"test": np.arange(3)}, validation=0.2, seed=5).parts["train"]
    assert np.array_equal(parts["validation"], hold_out(LABELS, 0.2, 5))


def test_one_example_a_class_is_too_few_to_hold_one_out():
    with pytest.raises(ParameterError, match=r"^prepare.test_share: no class has two examples"):
        divided([0, 1, 2])


def test_a_share_that_empties_a_class_is_refused():
    with pytest.raises(ParameterError, match=r"^prepare.test_share: 0.99 holds out every example"):
        divided(test_share=0.99)


def test_labels_are_written_by_prepared_split(tmp_path):
    labels = Encoded({"train": LABELS, "validation": np.array([2, 0])}, ["a", "b", "c"])
    division = divide(labels, PrepareParameters())
    sizes = write_labels(labels, division, tmp_path)
    assert sizes == {"train": 63, "validation": 2, "test": 7}
    assert list(sizes) == ["train", "validation", "test"]
    held = np.load(tmp_path / "test_labels.npy")
    assert held.tolist() == LABELS[division.parts["train"]["test"]].tolist()
    assert np.load(tmp_path / "validation_labels.npy").tolist() == [2, 0]
