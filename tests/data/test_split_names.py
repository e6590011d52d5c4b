from dataclasses import dataclass

import pytest

from crest.data.split_names import open_splits
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters


@dataclass
class Named:
    name: str


def opened(there, train="train", test="test", is_remote=False, **params):
    def open_split(name, key):
        if name not in there:
            raise DataError(f"no {name}; set prepare.{key}")
        return Named(name)

    return open_splits(PrepareParameters(**params), there, open_split, train, test, is_remote)


def names(source):
    return {purpose: split.name for purpose, split in source.splits.items()}


def test_the_usual_names_need_no_word():
    source = opened(["train", "test"])
    assert names(source) == {"train": "train", "test": "test"}
    assert source.notes == ()
    assert source.spare() is None


def test_splits_that_are_not_read_are_said():
    source = opened(["train", "test", "dev"])
    assert names(source) == {"train": "train", "test": "test"}
    assert source.spare() == "dev"
    assert source.notes == (
        "split dev is not read: prepare.validation_split=dev takes it in place of a share of train",
    )
    held = opened(["train", "test"], test_share=0.2)
    assert held.notes == (
        "split test is not read: a share of train is held out (prepare.test_share)",
    )


def test_far_away_nothing_is_searched_that_is_not_needed():
    checked = []

    class Far(list):
        def __contains__(self, name):
            checked.append(name)
            return super().__contains__(name)

    source = opened(Far(["train", "test", "dev"]), is_remote=True)
    assert set(checked) == {"train", "test"}
    assert source.notes == ()
    assert source.spare() == "dev"


def test_the_data_sets_own_names_come_first():
    source = opened(["train", "test", "valid"], test="valid")
    assert names(source) == {"train": "train", "test": "valid"}
    assert source.notes == ()


@pytest.mark.parametrize("name", ["testing", "eval", "evaluation", "validation", "valid", "dev"])
def test_another_name_of_the_test_split_is_taken_and_said(name):
    source = opened(["train", name])
    assert names(source) == {"train": "train", "test": name}
    assert source.notes == (f"no split test: {name} is the test split (prepare.test_split)",)


def test_training_is_the_training_split_and_said():
    source = opened(["training", "test"])
    assert names(source) == {"train": "training", "test": "test"}
    assert source.notes == ("no split train: training is the training split (prepare.train_split)",)


def test_without_a_test_split_there_is_none():
    assert names(opened(["train", "other"])) == {"train": "train"}


def test_a_share_of_train_is_held_out_whatever_test_split_there_is():
    assert names(opened(["train", "test"], test_share=0.2)) == {"train": "train"}


def test_splits_that_are_named_are_taken():
    source = opened(["a", "b", "c"], train_split="a", test_split="b", validation_split="c")
    assert names(source) == {"train": "a", "test": "b", "validation": "c"}
    assert source.notes == ()


def test_what_is_named_for_validation_is_not_taken_for_test():
    source = opened(["train", "validation"], validation_split="validation")
    assert names(source) == {"train": "train", "validation": "validation"}


def test_what_is_named_for_training_is_not_taken_for_test():
    assert names(opened(["train", "test"], train_split="test")) == {"train": "test"}


@pytest.mark.parametrize("key", ["train_split", "test_split", "validation_split"])
def test_a_split_that_is_named_must_be_there(key):
    with pytest.raises(DataError, match=f"^no other; set prepare.{key}$"):
        opened(["train", "test"], **{key: "other"})


def test_a_missing_training_split_is_asked_for_by_its_usual_name():
    with pytest.raises(DataError, match=r"^no train; set prepare.train_split$"):
        opened(["test"])


@pytest.mark.parametrize(
    ("params", "key", "name", "taken"),
    [
        ({"test_split": "train"}, "test_split", "train", "train_split"),
        ({"train_split": "x", "test_split": "x"}, "test_split", "x", "train_split"),
        ({"validation_split": "train"}, "validation_split", "train", "train_split"),
        (
            {"test_split": "test", "validation_split": "test"},
            "validation_split",
            "test",
            "test_split",
        ),
    ],
)
def test_a_split_serves_one_purpose(params, key, name, taken):
    message = f"^prepare.{key}: '{name}' is what prepare.{taken} takes"
    with pytest.raises(ParameterError, match=message):
        opened(["train", "test", "x"], **params)


def test_a_test_split_and_a_share_for_it_contradict_each_other():
    with pytest.raises(ParameterError, match=r"^prepare.test_share: the test split is 'test'"):
        opened(["train", "test"], test_split="test", test_share=0.1)
