"""Benchmarks: the comparison of two checkouts' results sees every bit and no timing."""

from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.robustness.same_results import compare


def write_run(folder: Path, weight: float = 1.0, loss: float = 0.5, seconds: float = 1.0) -> Path:
    folder.mkdir()
    save_file({"weight": torch.tensor([weight])}, folder / "model.safetensors")
    steps = pl.DataFrame({"step": [0], "loss": [loss], "seconds": [seconds]})
    steps.write_parquet(folder / "steps.parquet")
    return folder


def test_timings_are_no_difference(tmp_path):
    before = write_run(tmp_path / "before", seconds=1.0)
    now = write_run(tmp_path / "now", seconds=2.0)
    row = compare("full", before, now)
    assert (row.tensors, row.tables, row.different) == (1, 1, [])


@pytest.mark.parametrize(
    ("change", "different"),
    [
        ({"weight": 1.0 + 2**-23}, "model: weight"),
        ({"loss": 0.5 + 2**-53}, "steps: loss"),
    ],
)
def test_the_last_bit_is_a_difference(tmp_path, change, different):
    before = write_run(tmp_path / "before")
    now = write_run(tmp_path / "now", **change)
    assert compare("full", before, now).different == [different]


def test_a_column_that_is_gone_is_a_difference(tmp_path):
    before, now = write_run(tmp_path / "before"), write_run(tmp_path / "now")
    pl.DataFrame({"step": [0]}).write_parquet(now / "steps.parquet")
    assert compare("full", before, now).different == ["steps: loss"]
