"""The queue for a GPU: every part runs to its end, none stops another, none runs twice."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tests.processes  # noqa: F401  (what its processes import once)
from benchmarks.gpu import pack, queue, run
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.queue import Job, Part, run_parts

# As much of airbench's interface as the part calls.
AIRBENCH = """
import types
import torch

class CifarLoader:
    def __init__(self, path, train=True, batch_size=500, aug=None, altflip=False, gpu=0):
        data = torch.load(f"{path}/{'train' if train else 'test'}.pt", map_location=gpu)
        self.images, self.labels, self.batch_size = data["images"], data["labels"], batch_size

    def __len__(self):
        return len(self.labels) // self.batch_size

    def __iter__(self):
        images = self.images.permute(0, 3, 1, 2) / 255
        return zip(images.split(self.batch_size), self.labels.split(self.batch_size))

def evaluate(model, loader, tta_level=0):
    return (loader.labels == model).float().mean().item()

def train94(loader, epochs=9.9, verbose=True):
    loader.epoch = 0
    sizes = {len(labels) for _, labels in loader}
    assert sizes <= {loader.batch_size, loader.batch_size // 2}
    return loader.labels[0]

train95 = train96 = train94
hyp = {"opt": {"batch_size": 1024, "train_epochs": 10.0}, "aug": {"flip": True}}
lib_airbench94 = lib_airbench95 = lib_airbench96 = types.SimpleNamespace(hyp=hyp)
"""


@pytest.fixture
def job(tmp_path):
    return Job("", tmp_path / "out", tmp_path / "work", tmp_path / "carried", True, "c0ffee")


@pytest.fixture(scope="module")
def run_small(tmp_path_factory):
    """The job of a queue that was run in its small form."""
    folder = tmp_path_factory.mktemp("queue")
    carried = folder / "carried"
    (carried / "site").mkdir(parents=True)
    (carried / "site" / "airbench.py").write_text(AIRBENCH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "PRELOAD", ())  # the tests' own processes, forked all from one
        patch.setattr(sys, "path", [*sys.path])
        patch.setenv("PYTHONPATH", "")
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert run.main(["--small", "--out", str(folder / "out"), "--carried", str(carried)]) == 0
    return Job("", folder / "out", carried / "work", carried, True, None)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def states(outcomes):
    return {outcome.part: outcome.state for outcome in outcomes}


def test_every_part_runs_to_its_end_on_the_processor(run_small):
    job = run_small
    ended = {row["part"]: row["state"] for row in lines(job.out / "parts.jsonl")}
    assert ended == {part.name: "done" for part in PARTS}
    text = (job.out / "report.md").read_text()
    assert "no report" not in text
    for heading in ("| random 10% |", "| crest |", "| 94 | all | 1 |", "by hand, compiled"):
        assert heading in text
    row = lines(job.out / "steps.jsonl")[0]
    assert (row["name"], row["device"]) == ("random", "cpu")
    assert 0 < row["low"] <= row["ms"] <= row["high"]


def test_what_has_rows_is_not_run_again(run_small):
    job = run_small
    before = {path: path.read_bytes() for path in job.out.glob("*.jsonl")}
    for part in PARTS:
        assert part.function("run")(replace(job, part=part.name))
    assert {path: path.read_bytes() for path in job.out.glob("*.jsonl")} == before


class MadeUp(Part):
    """A part whose functions are those of an object of a module."""

    def function(self, name):
        return getattr(super().function(self.name), name)


def made_up(name, seconds=30.0):
    return MadeUp(name, seconds, "tests.benchmarks.gpu_parts")


def test_a_part_that_fails_or_hangs_stops_no_other(job, monkeypatch):
    monkeypatch.setattr(queue, "GRACE", 0.5)
    parts = [made_up("fails"), made_up("crashes"), made_up("hangs", 1.5), made_up("works")]
    outcomes = run_parts(parts, job, 60)
    assert states(outcomes) == {
        "fails": "failed: ValueError: a typing error",
        "crashes": "failed: exit -9",
        "hangs": "done",  # in its second turn, from the row of the first
        "works": "done",
    }
    assert [row["state"] for row in lines(job.out / "parts.jsonl")] == [
        "failed: ValueError: a typing error",
        "failed: exit -9",
        "out of time",
        "done",
        "done",
    ]
    assert [row["name"] for row in lines(job.out / "works.jsonl")] == ["first", "second"]
    assert [row["commit"] for row in lines(job.out / "fails.jsonl")] == ["c0ffee"]
    text = queue.report(parts, job, outcomes)
    assert "## works\n\nfirst\nsecond\n" in text
    assert "| crashes | failed: exit -9 |" in text


def test_nothing_begins_without_time(job):
    assert states(run_parts([made_up("works")], job, 1)) == {"works": "not begun"}


def test_a_row_that_was_cut_off_is_made_again(job):
    job = replace(job, part="works")
    job.out.mkdir()
    job.path.write_text('{"name": "first"}\n{"name": "sec')
    assert job.missing(["first", "second"]) == ["second"]


def test_what_was_packed_comes_back(tmp_path, capsys):
    source = tmp_path / "cifar10"
    source.mkdir()
    content = os.urandom(100_000)
    (source / "train.parquet").write_bytes(content)
    out = tmp_path / "packed"
    pack.pack(out, source, (), "3.12", 2**14)  # more parts, which give way
    pack.pack(out, source, (), "3.12", 2**16)
    parts = sorted(out.glob("part*/bytes"))
    assert [part.parent.name for part in parts] == ["part0", "part1"]
    assert all(part.stat().st_size <= 2**16 for part in parts)
    pack.unpack(out)
    assert (out / "data" / "cifar10" / "train.parquet").read_bytes() == content
    assert queue.commit_of(Path(out)) == (out / "commit").read_text().strip()


def test_a_folder_without_parts_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="carry what pack has written"):
        pack.unpack(tmp_path)
