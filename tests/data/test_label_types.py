import polars as pl
import pytest

from crest.data.label_types import joined, plain_labels
from crest.errors import DataError

INTEGERS = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32]


def at(row):
    return f"row {row}"


@pytest.mark.parametrize("kind", [*INTEGERS, pl.UInt64, pl.Float32, pl.Float64, pl.Decimal(9, 2)])
def test_whole_numbers_of_every_type_are_the_same(kind):
    labels = plain_labels(pl.Series([1, 0, None], dtype=kind), at)
    assert labels.dtype == pl.Int64
    assert labels.to_list() == [1, 0, None]


def test_numbers_up_to_the_last_bit_stay():
    ends = [2**63 - 1, -(2**63)]
    assert plain_labels(pl.Series(ends, dtype=pl.Int128), at).to_list() == ends
    for kind, value in ((pl.UInt64, 2**63), (pl.Int128, 2**63), (pl.Int128, -(2**63) - 1)):
        with pytest.raises(DataError, match=rf"^row 1: the label is {value} .*64 bits at most"):
            plain_labels(pl.Series([0, value], dtype=kind), at)


@pytest.mark.parametrize(
    "labels",
    [
        pl.Series([None, None]),
        pl.Series([None, None], dtype=pl.String),
        pl.Series(["", " \u00a0\n"]),
        pl.Series([float("nan"), None]),
    ],
)
def test_null_blank_and_nan_are_none(labels):
    assert plain_labels(labels, at).null_count() == 2


@pytest.mark.parametrize("value", [b"a", {"a": 1}, [1]])
def test_other_types_are_refused_with_their_row(value):
    with pytest.raises(DataError, match=r"^row 1: the label is .*; labels are whole numbers or"):
        plain_labels(pl.Series([None, value]), at)


def test_files_are_joined_without_widening():
    wide = 2**53 + 1
    parts = [pl.Series([wide]), pl.Series([None], dtype=pl.Int64), pl.Series([0])]
    assert joined(parts, at).to_list() == [wide, None, 0]
    strings = [pl.Series([None, None], dtype=pl.Int64), pl.Series(["a"])]
    assert joined(strings, at).to_list() == [None, None, "a"]


def test_numbers_and_strings_do_not_go_together():
    parts = [pl.Series([0, 1]), pl.Series(["0"])]
    with pytest.raises(DataError, match=r"^row 2: labels are strings, those of the files before n"):
        joined(parts, at)
