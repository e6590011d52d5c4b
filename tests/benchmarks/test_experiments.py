"""Experiments: run once, resumed, saved as they go, with their processor seconds."""

import fcntl
import json
import math
import signal
import threading
from contextlib import contextmanager

import pytest
import safetensors
import torch

from benchmarks.experiments import (
    commands,
    metering,
    runner,
)
from benchmarks.experiments.rows import Rows
from crest.data.files import read_meta
from crest.data.prepared import Prepared
from crest.errors import ArtifactError, Interrupted
from crest.training.state import Checkpoint, read_state
from tests.benchmarks.short_experiments import (
    CREST,
    RANDOM,
    SHORT,
    places,
    stopping,
    timeless,
)
from tests.tiny import FLOAT32, image_meta, image_split, parameters


def test_runs_are_saved_seed_by_seed_and_not_run_again(bench, capsys):
    rows = bench(RANDOM + CREST)
    assert places(rows) == [("random", 0), ("crest", 0), ("random", 1), ("crest", 1)]
    capsys.readouterr()
    assert bench(RANDOM + CREST) == rows
    assert capsys.readouterr().out.count(": done\n") == 4


def test_a_row_says_what_a_run_took_and_depends_on(bench):
    row = bench(CREST, "--seeds", "3")[0]
    assert (row["seed"], row["method"], row["model"]) == (3, "crest", "convnet")
    assert (row["steps"], row["full_steps"], row["examples_trained"]) == (10, 41, 320)
    assert row["budget"] == 10 / 41
    assert 0 < row["accuracy"] < 1 < row["loss"] < 4
    assert row["updates"] >= 1
    assert row["counts"]["examples_scored"] > 0
    assert row["counts"]["hessian_vector_products"] > 0
    training, forward = row["flop"]["train"] / 320, row["flop"]["select"]
    assert forward % row["counts"]["examples_scored"] == 0
    assert 2 < training / (forward / row["counts"]["examples_scored"]) < 3  # no gradient of images
    assert math.isclose(sum(row["seconds_by_part"].values()), row["seconds"])
    assert row["overrides"] == {
        "crest.subset_size": 64,
        "crest.threshold": 0.2,
        "train.budget": 0.25,
        "train.device": "cpu",
        "train.epochs": 1.0,
        "train.precision": "float32",
        "train.threads": 1,
    }
    assert [point["step"] for point in row["curve"]] == list(range(1, 11))
    assert row["curve"][-1]["cpu_seconds"] == row["cpu_seconds"]
    assert row["machine"]["threads"] == 1
    assert row["torch"] == torch.__version__


def test_changed_overrides_run_again_and_take_the_old_rows_place(bench, capsys):
    old = bench(RANDOM + CREST, "--seeds", "0")
    changed = "  - {name: random, method: random, set: {train.lr: 0.05}}\n"
    rows = bench(changed + CREST, "--seeds", "0")
    assert "random, seed 0: runs again, for other train.lr" in capsys.readouterr().out
    assert places(rows) == [("crest", 0), ("random", 0)]
    assert rows[0] == old[1]
    assert rows[1]["overrides"]["train.lr"] == 0.05
    assert rows[1]["loss"] != old[0]["loss"]


def test_an_interrupted_run_goes_on_where_it_was(bench, monkeypatch):
    whole = bench(CREST, "--seeds", "0")[0]
    bench.out.unlink()
    monkeypatch.setattr(runner.signals, "noted", lambda: stopping(12))
    assert bench(CREST, "--seeds", "0", code=128 + signal.SIGTERM) == []
    state = bench.keep / "crest-0.safetensors"
    with safetensors.safe_open(state, framework="pt") as file:
        saved = read_state(state, json.loads(file.metadata()["key"]))
    assert 0 < saved["steps_taken"] < 10
    monkeypatch.undo()
    monkeypatch.setattr(commands, "EXPERIMENTS", bench.folder)
    row = bench(CREST, "--seeds", "0")[0]
    assert timeless(row) == timeless(whole)
    marks = {str(point["step"]): point["cpu_seconds"] for point in row["curve"]}
    assert saved["cpu_marks"].items() <= marks.items()
    assert row["cpu_seconds"] > saved["cpu_seconds"] > 0
    assert not state.exists()


def test_a_signal_while_a_run_is_evaluated_stops_before_the_next(bench, monkeypatch):
    class Stopped:
        evaluated = False

        def __call__(self):
            return signal.SIGTERM if self.evaluated else 0

    stop = Stopped()

    @contextmanager
    def noted():
        yield stop

    def evaluate(*arguments):
        stop.evaluated = True
        return evaluated(*arguments)

    evaluated = runner.evaluate
    monkeypatch.setattr(runner, "evaluate", evaluate)
    monkeypatch.setattr(runner.signals, "noted", noted)
    rows = bench(RANDOM, code=128 + signal.SIGTERM)
    assert places(rows) == [("random", 0)]


def test_a_run_that_another_process_is_at_is_left_to_it(bench, capsys):
    bench.keep.mkdir()
    with (bench.keep / "random-0.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert bench(RANDOM, "--seeds", "0") == []
    assert "random, seed 0: another process is at it" in capsys.readouterr().out


def test_a_run_that_fails_does_not_keep_others_from_running(bench, capsys):
    wild = "  - {name: wild, method: random, set: {train.lr: 1.0e+30, train.warmup: 0.0}}\n"
    rows = bench(wild + RANDOM, "--seeds", "0", code=1)
    assert places(rows) == [("random", 0)]
    assert "wild, seed 0: failed: the training loss became" in capsys.readouterr().out


def test_what_cannot_be_run_is_refused_before_anything_is(bench, capsys):
    unknown = "  - {name: other, method: other, set: {other.factor: 2}}\n"
    assert bench(RANDOM + unknown, code=2) == []
    assert "other: 'other' is not one of" in capsys.readouterr().err
    assert places(bench(RANDOM + unknown, "--only", "rand*", "--seeds", "0")) == [("random", 0)]
    bench(RANDOM, "--only", "nothing", code=2)
    assert "--only: 'nothing' matches none of random" in capsys.readouterr().err


def test_data_of_another_kind_are_refused(bench, capsys):
    text = "  - {name: of another, method: random, set: {prepare.dataset: cifar10}}\n"
    bench(text, code=1)
    assert "holds digits, the experiment is of cifar10" in capsys.readouterr().out


def test_data_prepared_with_another_validation_share_are_refused(bench, capsys):
    text = "  - {name: without, method: random, set: {prepare.validation: 0.0}}\n"
    bench(text, code=1)
    assert "prepare.validation is 0.0 in the experiment" in capsys.readouterr().out


def test_prepare_makes_the_data_of_the_experiment(bench, digits, tmp_path):
    (bench.folder / "short.yaml").write_text(SHORT + RANDOM)
    project = tmp_path / "project"
    project.mkdir()
    assert commands.main(["prepare", "short", "--project", str(project)]) == 0
    made, expected = (read_meta(root / "data" / "prepared") for root in (project, digits.root))
    assert made == expected


# The file of rows


def some_row(name, seed, value=0):
    return {"experiment": "e", "name": name, "seed": seed, "value": value}


def test_rows_of_several_writers_are_all_kept(tmp_path):
    rows = Rows(tmp_path / "rows.jsonl")

    def write(name):
        for value in range(3):  # each replaces the rows of the value before
            for seed in range(5):
                Rows(rows.path).add(some_row(name, seed, value))

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = sorted((row["name"], row["seed"], row["value"]) for row in rows.read())
    assert found == [(name, seed, 2) for name in "abcd" for seed in range(5)]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"b"\n')
    with pytest.raises(ArtifactError, match=r"rows\.jsonl: line 2 is no JSON"):
        Rows(tmp_path / "rows.jsonl").read()


# Processor seconds


class Clock:
    """Counts a second for each training mini-batch, a hundred for each one of an evaluation."""

    now = 0.0

    def split(self):
        split = image_split(80)
        clock = self

        class Ticking(type(split)):
            def inputs(self, indices):
                clock.now += 100
                return super().inputs(indices)

            def views(self, indices, draws):
                clock.now += 1
                return super().views(indices, draws)

        split.__class__ = Ticking
        return split


@pytest.mark.parametrize("stop_at", [None, 3, 5, 6])
def test_processor_seconds_leave_validation_out_and_add_up(tmp_path, monkeypatch, stop_at):
    clock = Clock()
    monkeypatch.setattr(metering.time, "process_time", lambda: clock.now)
    data = Prepared(image_meta(), clock.split(), clock.split(), clock.split())
    settings = parameters(train={"epochs": 1, "budget": 1.0, "validations": 2, "batch_size": 8})
    arguments = (settings, data, "random", FLOAT32, None)

    def checkpoint(stop=lambda: 0):
        return Checkpoint(tmp_path / "state.safetensors", {}, 1e9, stop)

    if stop_at is not None:
        with stopping(stop_at) as stop, pytest.raises(Interrupted):
            runner.metered_training(*arguments, checkpoint(stop))
        clock.now += 1000
    _, meter, marks = runner.metered_training(*arguments, checkpoint())
    assert meter.seconds == 10
    assert marks == {5: 5, 10: 10}
