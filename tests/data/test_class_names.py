import json

import polars as pl
import pytest

from crest.data.class_names import (
    Naming,
    class_names,
    common_names,
    display_name,
    near_duplicates,
    spelling_key,
    translated,
)
from crest.errors import DataError


def metadata(names, kind="ClassLabel"):
    features = {"label": {"names": names, "_type": kind}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def read(described, column="label"):
    return class_names(described, column, "train.parquet")


def test_names_are_read_in_the_order_of_their_numbers():
    assert read(metadata(["b", "a"])) == ("b", "a")
    assert read(metadata(["b", "a"]), "other") is None


@pytest.mark.parametrize("text", ["[]", "{}", '{"info": null}', '{"info": {"features": 3}}'])
def test_other_metadata_names_nothing(text):
    assert read({"huggingface": text}) is None
    assert read({}) is None
    assert read(metadata(["b", "a"], "Value")) is None
    assert read(metadata([])) is None


@pytest.mark.parametrize("text", ["", "no json", "[" * 10**5 + "]" * 10**5, '{"info": ' * 9000])
def test_metadata_that_cannot_be_read_are_refused(text):
    with pytest.raises(DataError, match=r"^train.parquet: its metadata 'huggingface', which names"):
        read({"huggingface": text})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", 1], "class 1 is named 1, which is no text"),
        (["a", None], "class 1 is named None, which is no text"),
        (["a", ["b"]], r"class 1 is named \['b'\], which is no text"),
        (["\ud800", "a"], r"class 0 is named '\\ud800', which is no text"),
        (["a", "b", "a"], "two classes are named a; correct its metadata"),
    ],
)
def test_names_that_are_none_are_refused(names, message):
    with pytest.raises(DataError, match=f"^train.parquet: {message}"):
        read(metadata(names))


@pytest.mark.parametrize(
    ("named", "common"),
    [
        ([], None),
        ([("b", "a")], ("b", "a")),
        ([("b", "a"), ("b", "a")], ("b", "a")),
        ([("b",), ("b", "a")], ("b", "a")),
        ([("b", "a"), ("a", "b")], ("a", "b")),
        ([("c", "b"), ("a", "b")], ("a", "b", "c")),
    ],
)
def test_no_file_comes_first(named, common):
    assert common_names(named) == common
    assert common_names(named[::-1]) == common


def test_train_decides_and_others_are_noted():
    naming = Naming()
    assert naming.read("train", {"x": ("b", "a"), "y": None}) == (("b", "a"), None)
    naming.read("test", {"z": ("b", "a")})
    assert naming.classes == ("b", "a")
    assert naming.notes == []
    naming.read("test", {"z": ("a", "b")})
    assert naming.notes == [
        "test: some files number the classes in another order; their labels were translated by "
        "the classes' names"
    ]


def at(row):
    return f"row {row}"


def test_numbers_are_translated_by_name():
    labels = pl.Series([0, 1, -1, None, 2])
    found = translated(labels, ("x", "y", "z"), ("z", "y", "x"), at)
    assert found.to_list() == [2, 1, -1, None, 0]
    assert translated(pl.Series(["x"]), ("x",), ("y", "x"), at).to_list() == ["x"]
    assert translated(pl.Series([0]), ("e\u0301", "b"), ("b", "\u00e9"), at).to_list() == [1]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (2, "row 1: the label is 2, outside the 2 classes the file names; correct it"),
        (1, "row 1: the label is 'cow', none of the classes: ant, bee; correct it"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(label, message):
    with pytest.raises(DataError, match=f"^{message}"):
        translated(pl.Series([0, label]), ("ant", "cow"), ("ant", "bee"), at)


@pytest.mark.parametrize(
    ("one", "other"),
    [("\u00e9", "e\u0301"), ("a ", "a"), ("a\u00a0b", "a b"), ("a\u200b", "a"), ("\ufeffa", "a")],
)
def test_ways_to_write_a_name_share_a_key_and_are_shown_apart(one, other):
    assert spelling_key(one) == spelling_key(other)
    assert display_name(one) != display_name(other)
    assert len(near_duplicates([one, other])) == 1


def test_other_names_are_shown_as_they_are():
    assert display_name("caf\u00e9 au lait") == "caf\u00e9 au lait"
    assert display_name("\x1b[31mred") == "'\\x1b[31mred'"
    assert near_duplicates(["a", "b"]) == []
