"""Saved coresets come back as they were, and broken ones are refused with their row."""

import polars as pl
import pytest
import torch

from crest.artifacts import TABLES
from crest.errors import ArtifactError
from crest.selection.coresets import MiniBatchCoreset, coreset_rows
from crest.selection.saved import from_tables

LABELS = torch.arange(20) % 3


def coreset(region: int, number: int, start: int) -> MiniBatchCoreset:
    indices = torch.tensor([start, start + 2, start + 1])
    return MiniBatchCoreset(indices, torch.tensor([2.0, 0.5, 0.5]), torch.rand(3), region, number)


REGIONS = [[coreset(0, 0, 0), coreset(0, 1, 4)], [coreset(1, 0, 9)]]
TABLE = pl.concat([coreset_rows(region, LABELS) for region in REGIONS])


def steps(*pairs: tuple[int, int]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=["region", "minibatch"], orient="row")


def test_round_trip() -> None:
    saved = from_tables(TABLE.sample(fraction=1.0, shuffle=True, seed=1), None, LABELS, "here")
    for region, expected in zip(saved.regions, REGIONS, strict=True):
        for found, original in zip(region, expected, strict=True):
            assert found.indices.tolist() == original.indices.tolist()
            assert found.weights.tolist() == original.weights.tolist()
            assert (found.region, found.number) == (original.region, original.number)


def test_sequence_is_kept() -> None:
    saved = from_tables(TABLE, steps((0, 1), (0, 0), (1, 0)), LABELS, "here")
    assert saved.sequence == ((0, 1), (0, 0), (1, 0))


def changed(row: int, column: str, value: object) -> pl.DataFrame:
    values = TABLE[column].to_list()
    values[row] = value
    return TABLE.with_columns(pl.Series(column, values, TABLES["coresets"][column]))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.clear(), "holds no mini-batch"),
        (changed(4, "index", 20), "row 4: index 20 is outside the 20 training examples"),
        (changed(4, "index", -1), "row 4: index -1 is outside"),
        (changed(2, "weight", -0.5), "row 2: weight -0.5 is not a number from 0 up"),
        (changed(2, "weight", float("nan")), "row 2: weight nan is not"),
        (changed(2, "weight", None), "row 2 has a null"),
        (changed(3, "label", 0), "row 3: example 4 has label 0, prepared data has 1"),
        (TABLE.filter(pl.col("region") > 0), "region 0 is missing"),
        (TABLE.filter(pl.col("minibatch") > 0), "mini-batch 0 of region 0 is missing"),
    ],
)
def test_broken_rows_are_refused(table: pl.DataFrame, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        from_tables(table, None, LABELS, "here")


def test_a_step_on_an_unsaved_minibatch_is_refused() -> None:
    with pytest.raises(ArtifactError, match="step 1 was trained on mini-batch 3 of region 1"):
        from_tables(TABLE, steps((0, 0), (1, 3)), LABELS, "here")
