"""One SIGKILL in the middle of training; benchmarks.robustness.kill_test sends many."""

import shutil
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from tests.processes import ROOT, Running, start

SETTINGS = ["-S", "run.save_interval=0.0", "-S", "train.epochs=20", "-S", "train.threads=1"]
TABLES = ("steps", "coresets", "regions", "examples", "validation")


def begin(project: Path) -> Running:
    return start(ROOT / "cli.py", "train", "--method", "crest", *SETTINGS, folder=project)


def kill_once_there_is_a_state(project: Path) -> None:
    running = begin(project)
    state = project / ".resume" / "train-crest.safetensors"
    while running.poll() is None and not state.exists():
        time.sleep(0.01)
    running.kill()
    assert state.exists()
    assert not (project / "artifacts" / "train" / "crest").exists()


@pytest.fixture
def projects(tmp_path, digits):
    for name in ("whole", "killed"):
        shutil.copytree(digits.root / "data", tmp_path / name / "data")
        shutil.copy(ROOT / "params.yaml", tmp_path / name)
    return tmp_path / "whole", tmp_path / "killed"


def test_a_killed_run_ends_as_if_it_had_never_been_killed(projects):
    whole, killed = projects
    kill_once_there_is_a_state(killed)
    for project in projects:
        assert begin(project).wait().returncode == 0
    folders = [project / "artifacts" / "train" / "crest" for project in (whole, killed)]
    models = [load_file(folder / "model.safetensors") for folder in folders]
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
    for table in TABLES:
        frames = [pl.read_parquet(folder / f"{table}.parquet") for folder in folders]
        timeless = [column for column in frames[0].columns if not column.startswith("seconds")]
        assert frames[0].select(timeless).equals(frames[1].select(timeless)), table
    snapshots = [sorted((folder / "snapshots").iterdir()) for folder in folders]
    assert len(snapshots[0]) == 4
    for paths in zip(*snapshots, strict=True):
        assert paths[0].name == paths[1].name
        one, other = (load_file(path) for path in paths)
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert not list((killed / ".resume").iterdir())
    assert [path.name for path in (killed / "artifacts" / "train").iterdir()] == ["crest"]
