"""Saved coresets come back as they were, and broken ones are refused with their row."""

import numpy as np
import polars as pl
import pytest
import torch

from crest.artifacts import TABLES, write_table
from crest.devices.generators import generator_for
from crest.errors import ArtifactError, ParameterError
from crest.samplers.saved import from_tables, read_coresets
from crest.selection.coresets import MiniBatchCoreset, coreset_rows

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


def read(saved, *arguments) -> list[tuple[list[int], list[float]]]:
    return [(a.tolist(), b.tolist()) for a, b in saved.minibatches(*arguments)]


def values(regions: list[list[MiniBatchCoreset]], *numbers: tuple[int, int]) -> list:
    chosen = [regions[region][number] for region, number in numbers]
    return [(one.indices.tolist(), one.weights.tolist()) for one in chosen]


def test_the_minibatches_of_a_run_come_in_the_order_of_its_steps() -> None:
    saved = from_tables(TABLE, steps((0, 1), (0, 0), (0, 1), (1, 0)), LABELS, "here")
    assert saved.steps == 4
    expected = values(REGIONS, (0, 1), (0, 0), (0, 1), (1, 0))
    assert read(saved) == read(saved, 4) == expected


def test_without_steps_every_minibatch_comes_once_in_order() -> None:
    saved = from_tables(TABLE, None, LABELS, "here")
    assert saved.steps == 3
    assert read(saved) == values(REGIONS, (0, 0), (0, 1), (1, 0))


def test_more_steps_stretch_the_regions_as_replay_does() -> None:
    saved = from_tables(TABLE, steps((0, 1), (0, 0), (0, 1), (1, 0)), LABELS, "here")
    generator = generator_for(5, "method")
    rule = [saved.minibatch(step, 40, generator) for step in range(40)]
    assert [one.region for one in rule] == [0] * 30 + [1] * 10
    assert {one.number for one in rule[:30]} == {0, 1}
    assert read(saved, 40, 5) == [(one.indices.tolist(), one.weights.tolist()) for one in rule]
    assert read(saved, 40, 5) != read(saved, 40, 6)


def test_what_a_reader_does_to_a_minibatch_stays_there() -> None:
    saved = from_tables(TABLE, steps((0, 0), (0, 0)), LABELS, "here")
    for indices, weights in saved.minibatches():
        assert indices.tolist() == [0, 2, 1]
        assert weights.tolist() == [2.0, 0.5, 0.5]
        indices.zero_()
        weights.zero_()


def test_no_steps_are_refused_at_once() -> None:
    saved = from_tables(TABLE, None, LABELS, "here")
    with pytest.raises(ParameterError, match="steps: 0 is not from 1"):
        saved.minibatches(0)
    for seed in (-1, 1.0, True, "0", 2**63):
        with pytest.raises(ParameterError, match=r"^seed: "):
            saved.minibatches(5, seed)
    with pytest.raises(ParameterError, match=r"^steps: .* from 1 up, not 2\.5"):
        saved.minibatches(2.5)
    assert len(list(saved.minibatches(np.int64(5), np.uint8(3)))) == 5


def test_without_labels_rows_are_still_checked() -> None:
    saved = from_tables(changed(3, "label", 0), None, None, "here")
    assert len(saved.regions) == 2
    with pytest.raises(ArtifactError, match="row 4: index -1 is below 0"):
        from_tables(changed(4, "index", -1), None, None, "here")
    with pytest.raises(ArtifactError, match=r"row 2: weight -0\.5 is not"):
        from_tables(changed(2, "weight", -0.5), None, None, "here")


def test_a_file_is_read_with_labels_of_any_kind_or_none(tmp_path) -> None:
    write_table(tmp_path / "chosen.parquet", TABLE, "coresets")
    expected = values(REGIONS, (0, 0), (0, 1), (1, 0))
    for labels in (None, LABELS, LABELS.int(), LABELS.numpy(), LABELS.tolist()):
        assert read(read_coresets(str(tmp_path / "chosen.parquet"), labels)) == expected
    with pytest.raises(ArtifactError, match="were chosen from other data"):
        read_coresets(tmp_path / "chosen.parquet", LABELS.flip(0))


def test_a_file_that_is_missing_says_what_to_name(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "none.parquet"):
        with pytest.raises(ArtifactError, match=r"no such file; name a folder .* Coresets\.save"):
            read_coresets(path)
