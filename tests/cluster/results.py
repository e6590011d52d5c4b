"""What two runs left behind, compared bit for bit, timings aside."""

import polars as pl
import torch
from safetensors.torch import load_file

TABLES = ("steps", "coresets", "regions", "examples", "validation")


def differing(one, other):
    """Names of what differs between two folders of a run."""
    names = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert names == {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    weights = sorted(name for name in names if name.suffix == ".safetensors")
    tables = sorted(name for name in names if name.stem in TABLES)
    assert weights
    assert tables
    found = [name for name in weights if not same_weights(one / name, other / name)]
    found += [name for name in tables if not same_rows(one / name, other / name)]
    return [str(name) for name in found]


def same_weights(one, other):
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def same_rows(one, other):
    frames = [pl.read_parquet(path) for path in (one, other)]
    timeless = [column for column in frames[0].columns if not column.startswith("seconds")]
    return frames[0].select(timeless).equals(frames[1].select(timeless))
