"""Experiments: run once, resumed, saved as they go, and their tables against figures by hand."""

import fcntl
import json
import math
import shutil
import signal
import threading
from contextlib import contextmanager

import pytest
import safetensors
import torch

from benchmarks.experiments import (
    commands,
    curves,
    experiment,
    metering,
    reaching,
    runner,
    tables,
    variations,
)
from benchmarks.experiments.rows import Rows
from crest.artifacts import read_table
from crest.data.files import read_meta
from crest.data.prepared import Prepared
from crest.errors import ArtifactError, Interrupted, ParameterError
from crest.training.schedules import budget_steps, total_steps
from crest.training.state import Checkpoint, read_state
from tests.tiny import FLOAT32, image_meta, image_split, parameters

SHORT = """
description: ten steps
set:
  train.epochs: 1
  train.budget: 0.25
  train.precision: float32
  train.device: cpu
  train.threads: 1
  crest.subset_size: 64
  crest.threshold: 0.2
seeds: [0, 1]
runs:
"""
RANDOM = "  - {name: random, method: random}\n"
CREST = "  - {name: crest, method: crest}\n"


@pytest.fixture
def bench(tmp_path, digits, monkeypatch):
    """A function that runs an experiment of ten steps on the digits; returns its rows."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    monkeypatch.setattr(commands, "EXPERIMENTS", folder)
    out, keep = tmp_path / "rows.jsonl", tmp_path / "keep"
    places = ["--project", str(digits.root), "--out", str(out), "--keep", str(keep)]

    def run(text, *options, code=0):
        (folder / "short.yaml").write_text(SHORT + text)
        assert commands.main(["run", "short", *places, *options]) == code
        return Rows(out).read()

    run.out, run.keep, run.folder = out, keep, folder
    return run


@contextmanager
def stopping(calls):
    """In place of signals.noted: asks to stop at the given call."""
    asked = iter(range(1, 10**6))
    yield lambda: signal.SIGTERM if next(asked) >= calls else 0


def places(rows):
    return [(row["name"], row["seed"]) for row in rows]


def timeless(row):
    """A row without what no two runs share."""
    kept = {key: value for key, value in row.items() if "seconds" not in key and key != "date"}
    points = [(point["step"], point["accuracy"], point["loss"]) for point in row["curve"]]
    return kept | {"curve": points}


# Running


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


# Random at another's time, and coresets of another


def test_as_long_as_takes_the_steps_that_fit(bench):
    text = "  - {name: long, method: random, as_long_as: crest}\n"
    rows = bench(CREST + text + RANDOM)
    assert places(rows)[-2:] == [("long", 0), ("long", 1)]
    by_name = {name: [row for row in rows if row["name"] == name] for name in ("random", "crest")}
    seconds = sum(row["cpu_seconds"] for row in by_name["crest"]) / 2
    a_step = sum(row["cpu_seconds"] / 10 for row in by_name["random"]) / 2
    for row in rows[-2:]:
        assert row["as_long_as"]["clock"] == "cpu_seconds"
        assert row["steps"] == row["as_long_as"]["steps"] == int(seconds / a_step)
        assert row["full_steps"] == 41


def test_later_seeds_take_as_many_steps_as_earlier_ones(bench):
    text = RANDOM + CREST + "  - {name: long, method: random, as_long_as: crest}\n"
    first = bench(text, "--seeds", "0")
    shutil.rmtree(bench.keep)  # as on another machine, that has the rows only
    rows = [row for row in bench(text, "--seeds", "1") if row["name"] == "long"]
    assert [row["as_long_as"] for row in rows] == [first[-1]["as_long_as"]] * 2


def test_as_long_as_needs_the_runs_it_is_measured_by(bench, capsys):
    text = RANDOM + CREST + "  - {name: long, method: random, as_long_as: crest}\n"
    bench(text, "--only", "crest", "long", "--seeds", "0", code=1)
    printed = capsys.readouterr().out
    assert "long, seed 0: failed: no finished run of plain random" in printed


def test_the_steps_that_fit_by_hand():
    def row(seconds, steps, threads=1, cpu="some processor"):
        machine = {"threads": threads, "cores": 2, "cpu": cpu, "python": "3.11"}
        times = {"cpu_seconds": seconds, "seconds": 3 * seconds}
        return made_up("run", 0, 0.5, steps=steps, machine=machine) | times

    plain = [row(10.0, 100), row(30.0, 100)]  # 0.2 s a step
    given = runner.fitting_steps([row(50.0, 7), row(51.1, 7)], plain, "crest", "random")
    assert given["steps"] == 252  # of 50.55 s
    assert given["clock"] == "cpu_seconds"
    assert runner.fitting_steps([row(0.1, 7)], plain, "crest", "random")["steps"] == 1
    two = [row(10.0, 100, threads=2)]
    given = runner.fitting_steps([row(50.0, 7, threads=2)], two, "crest", "random")
    assert given["clock"] == "seconds"
    with pytest.raises(ArtifactError, match="different machines or threads"):
        runner.fitting_steps(two, plain, "crest", "random")
    # Of rows from several machines, those of the one with most.
    both = [*plain, row(1.0, 100, cpu="another")], [row(50.0, 7), row(9.0, 7, cpu="another")]
    given = runner.fitting_steps(both[1], both[0], "crest", "random")
    assert (given["steps"], given["runs"]) == (250, 1)


@pytest.mark.parametrize("steps", [1, 2, 39, 40, 41, 42, 97, 412])
def test_a_run_of_so_many_steps_has_them(steps):
    settings = parameters(train={"batch_size": 32, "epochs": 1.0})
    full = total_steps(1.0, 1297, 32)
    train = runner.with_steps(settings, steps, full, 1297).train
    assert budget_steps(train.budget, total_steps(train.epochs, 1297, 32)) == steps


def test_coresets_of_trains_on_what_the_other_run_chose(bench, monkeypatch):
    seen = []
    train_model = runner.train_model

    def watched(settings, data, method, precision, saved, checkpoint):
        seen.append((method, settings.train.seed, saved))
        return train_model(settings, data, method, precision, saved, checkpoint)

    monkeypatch.setattr(runner, "train_model", watched)
    again = "  - {name: again, coresets_of: crest}\n"
    rows = bench(CREST + again)
    assert places(rows) == [("crest", 0), ("again", 0), ("crest", 1), ("again", 1)]
    # The same model on the very mini-batches of the run, with the same seed, ends the same.
    assert rows[0]["loss"] == rows[1]["loss"] != rows[3]["loss"] == rows[2]["loss"]
    for method, seed, saved in seen[1::2]:
        table = read_table(bench.keep / f"crest-{seed}" / "coresets.parquet", "coresets")
        assert method == "replay"
        assert sum(len(region) for region in saved.regions) == len(table) // 32


def test_coresets_of_needs_a_finished_run_as_it_is_now(bench, capsys):
    again = "  - {name: again, coresets_of: crest}\n"
    only = ("--only", "again", "--seeds", "0")
    assert bench(CREST + again, *only, code=1) == []
    assert "no finished run of 'crest' with seed 0" in capsys.readouterr().out
    bench(CREST + again, "--seeds", "0")
    changed = CREST.replace("}", ", set: {crest.threshold: 0.3}}")
    bench(changed + again, *only, code=1)
    assert "no finished run of 'crest' with seed 0" in capsys.readouterr().out


def test_coresets_that_were_not_kept_are_asked_for(bench, capsys):
    again = "  - {name: again, coresets_of: crest}\n"
    bench(CREST + again, "--only", "crest", "--seeds", "0")
    shutil.rmtree(bench.keep / "crest-0")
    bench(CREST + again, "--seeds", "0", code=1)
    assert "crest-0: no such folder; it holds what 'crest'" in capsys.readouterr().out


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
    """Counts a second for each training mini-batch and a hundred for each look."""

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


# Data variations


def varied(**variation):
    split = image_split(240)
    data = Prepared(image_meta(), split, None, split)
    return data, variations.varied(data, experiment.Variation(**variation))


def test_no_variation_changes_nothing():
    data, same = varied(seed=3)
    assert same is data


def test_a_share_of_the_labels_is_shuffled():
    data, changed = varied(shuffled_labels=0.5)
    before, after = data.train.labels, changed.train.labels
    assert torch.equal(before.bincount(), after.bincount())
    # Of 120 permuted among 3 classes about two thirds get another label.
    assert 60 <= int((before != after).sum()) <= 100
    indices = torch.tensor([5, 17])
    assert torch.equal(changed.train.inputs(indices), data.train.inputs(indices))
    assert torch.equal(varied(shuffled_labels=0.5)[1].train.labels, after)
    assert not torch.equal(varied(shuffled_labels=0.5, seed=1)[1].train.labels, after)
    assert torch.equal(data.test.labels, changed.test.labels)


def test_every_example_is_there_so_many_times():
    data, changed = varied(repeated=5)
    assert len(changed.train) == changed.meta.sizes["train"] == 1200
    assert torch.equal(changed.train.rows.bincount(), torch.full((240,), 5))
    indices = torch.tensor([0, 240, 1199])
    rows = torch.tensor([0, 0, 239])
    assert torch.equal(changed.train.inputs(indices), data.train.inputs(rows))
    assert torch.equal(changed.train.labels[indices], data.train.labels[rows])
    assert changed.meta.content_hash != data.meta.content_hash


def test_a_random_share_of_the_examples_is_kept_and_then_changed():
    data, changed = varied(share=0.25, repeated=2)
    once = changed.train.rows[:60]
    assert len(once.unique()) == 60
    assert torch.equal(changed.train.rows, once.repeat(2))
    assert torch.equal(changed.train.labels, data.train.labels[changed.train.rows])
    assert torch.equal(varied(share=0.25)[1].train.rows, once)
    assert not torch.equal(varied(share=0.25, seed=1)[1].train.rows, once)
    thin = varied(share=0.25, imbalance=4)[1].train
    before = data.train.labels[once].bincount()
    factors = torch.tensor([1.0, 0.5, 0.25])
    assert thin.labels.bincount().tolist() == (before * factors).round().int().tolist()
    assert torch.isin(thin.rows, once).all()


def test_classes_are_thinned_exponentially():
    data, changed = varied(imbalance=10)
    assert changed.train.labels.bincount().tolist() == [80, round(80 / math.sqrt(10)), 8]
    assert torch.equal(changed.train.labels, data.train.labels[changed.train.rows])
    assert torch.equal(varied(imbalance=10)[1].train.rows, changed.train.rows)


def test_a_run_on_varied_data(bench):
    text = "  - {name: five, method: random, data: {repeated: 5}}\n"
    rows = bench(RANDOM + text, "--seeds", "0")
    assert [row["full_steps"] for row in rows] == [41, 203]
    assert rows[1]["data"]["varied"] == {"repeated": 5}


# Experiment files


@pytest.mark.parametrize("path", sorted(commands.EXPERIMENTS.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_experiments_can_be_read(path):
    read = experiment.read(path)
    assert len(read.plans) > 4
    assert len({plan.hash for plan in read.plans}) == len(read.plans)


def plans(tmp_path, text, seeds=None):
    path = tmp_path / "some.yaml"
    path.write_text(SHORT + text)
    return experiment.read(path, seeds).plans


def test_a_runs_own_seeds_and_parameters(tmp_path):
    text = CREST + "  - {name: b, method: crest, seeds: [0], set: {crest.threshold: 1e-2}}\n"
    first, second = plans(tmp_path, text)
    assert (first.seeds, second.seeds) == ((0, 1), (0,))
    assert (first.parameters.crest.threshold, second.parameters.crest.threshold) == (0.2, 0.01)
    first, second = plans(tmp_path, text, [1, 2])
    assert (first.seeds, second.seeds) == ((1, 2), ())
    assert first.seeded(2).train.seed == 2


def test_a_preset_is_what_a_run_starts_from(tmp_path):
    plan = plans(tmp_path, "  - {name: a, method: crest, preset: cifar10-resnet20-cheap}\n")[0]
    assert plan.parameters.train.model == "resnet20"
    assert plan.parameters.crest.choice == "spatially_stratified"
    assert plan.parameters.crest.subset_size == 64


def test_the_hash_is_of_what_the_result_depends_on(tmp_path):
    def hashes(crest="", others=""):
        text = CREST.replace("}", f", set: {{{crest}}}}}")
        text += (
            "  - {name: again, coresets_of: crest}\n" + f"  - {{name: r, method: random{others}}}\n"
        )
        return [plan.hash for plan in plans(tmp_path, text)]

    before = hashes()
    assert hashes("crest.threshold: 0.2, run.save_interval: 5.0") != hashes("crest.threshold: 0.1")
    after = hashes("crest.threshold: 0.1")
    assert after[0] != before[0]
    assert after[1] != before[1]  # it trains on what the other chose
    assert after[2] == before[2]
    assert hashes(others=", data: {repeated: 2}")[2] != before[2]
    assert hashes(others=", set: {run.save_interval: 5.0}")[2] == before[2]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("  - {name: a, methods: crest}\n", "runs.0.methods: Extra inputs"),
        ("  - {name: a, method: crest, preset: none}\n", "preset: 'none' is not one of"),
        ("  - {name: a, method: crest, set: {budget: 1}}\n", "'budget' is not section.key"),
        ("  - {name: a, method: crest, set: {train.bugdet: 1}}\n", "train.bugdet: unknown key"),
        ("  - {name: a, coresets_of: crest}\n" + CREST, "no run before it is called 'crest'"),
        (CREST + "  - {name: a, method: crest, coresets_of: crest}\n", "such a run is replay"),
        ("  - {name: a}\n", "replay needs coresets_of"),
        (CREST + CREST, "two runs would share the folder 'crest'"),
        ("  - {name: a\n", "not valid YAML"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, text, printed):
    with pytest.raises(ParameterError, match=r"some\.yaml") as refused:
        plans(tmp_path, text)
    assert printed in str(refused.value)


# Tables and curves


def made_up(name, seed, accuracy, seconds=10.0, steps=100, **changes):
    row = {
        "experiment": "made-up",
        "name": name,
        "method": name.split()[0],
        "model": "convnet",
        "seed": seed,
        "accuracy": accuracy,
        "steps": steps,
        "full_steps": 1000,
        "examples_trained": 32 * steps,
        "updates": 0,
        "seconds": 2 * seconds,
        "cpu_seconds": seconds,
        "as_long_as": None,
        "overrides": {"train.budget": 0.1, "train.threads": 1},
        "hash": name,
        "data": {"varied": {}},
        "curve_split": "validation",
        "curve": [
            {"step": 50, "seconds": 10.0, "cpu_seconds": 5.0, "accuracy": accuracy / 2},
            {"step": 100, "seconds": 20.0, "cpu_seconds": 10.0, "accuracy": accuracy},
        ],
        "device": "cpu",
        "precision": "bf16",
        "machine": {"threads": 1, "cores": 2, "cpu": "some processor", "python": "3.11"},
        "commit": "abc",
        "torch": "2.0",
        "date": "2026-01-01T00:00:00+00:00",
    }
    return row | changes


ROWS = [
    *(made_up("random", seed, value) for seed, value in enumerate((0.80, 0.82, 0.87))),
    made_up("crest", 0, 0.81, 12.0, updates=4),
    made_up("crest", 1, 0.86, 16.0, updates=6),
    made_up("crest", 2, 0.88, 15.0, updates=8),
    made_up("crest", 3, 0.85, 15.0, updates=8),
]
FULL = [
    made_up("full", seed, value, 90.0, 1000, overrides={"train.threads": 1})
    for seed, value in enumerate((0.90, 0.92))
]


def cells(rows, **options):
    """The table's cells by run and column."""
    text = tables.markdown(rows, **options)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(split[0], row, strict=True)) for row in split[2:]}


def test_a_table_against_figures_by_hand():
    figures_of = cells([*ROWS, *FULL])
    assert figures_of["crest"] == {
        "run": "crest",
        "accuracy (seeds)": "85.00 ± 2.94 (4)",  # √(26 / 3) points
        "relative error": "6.59%",  # 6 of 91
        "steps": "100",
        "examples": "3,200",
        "seconds": "15",
        "÷ random": "1.50",
        "speed-up over full": "6.00",
        "updates": "6",  # of 4, 6, 8, 8: 6.5, to the even one
        "− random": "+2.00 ± 1.00",  # 1, 4, 1: deviation √3, by √3 seeds
        "− random, equal time": "–",
    }
    assert figures_of["random"]["accuracy (seeds)"] == "83.00 ± 3.61 (3)"  # √13
    assert figures_of["random"]["÷ random"] == "1.00"
    assert figures_of["random"]["− random"] == "–"
    assert figures_of["random"]["updates"] == "–"
    assert figures_of["full"]["÷ random"] == "–"
    assert figures_of["full"]["relative error"] == "0.00%"


def lengths(name, accuracies, **settings):
    """Runs of 100, 200 and 400 steps of 1,000."""
    return [
        made_up(
            f"{name} {steps}",
            0,
            accuracy,
            steps=steps,
            overrides={"train.budget": steps / 1000, **settings},
        )
        for steps, accuracy in zip((100, 200, 400), accuracies, strict=True)
    ]


def test_the_steps_to_the_accuracy_of_random_lie_between_a_runs_lengths():
    rows = [
        *lengths("random", (0.60, 0.70, 0.80)),
        *lengths("crest", (0.62, 0.72, 0.79)),
        *lengths("greedy", (0.40, 0.50, 0.60), **{"greedy.subset_size": 64}),
        *lengths("greedy other", (0.65, 0.65, 0.90), **{"greedy.subset_size": 32})[:1],
        *lengths("sgd", (0.60, 0.70, 0.80), **{"train.horizon": "full"}),
    ]
    found = cells(rows, of_rules=True)
    shares = {name: row["steps to random's accuracy"] for name, row in found.items()}
    assert [shares[f"random {steps}"] for steps in (100, 200, 400)] == ["–"] * 3
    # Four fifths of an octave above 100 steps: 174 of 200; never: more than its 400 of 400.
    assert [shares[f"crest {steps}"] for steps in (100, 200, 400)] == ["<100%", "87%", ">100%"]
    assert [shares[f"greedy {steps}"] for steps in (100, 200, 400)] == ["400%", ">200%", ">100%"]
    assert shares["greedy other 100"] == "–"  # of one length
    assert shares["sgd 200"] == "–"  # no random has its horizon


def test_steps_to_an_accuracy_by_hand():
    points = [(400, 0.8), (100, 0.5), (200, 0.7)]
    assert reaching.steps_to(0.7, points).steps == pytest.approx(200)
    assert reaching.steps_to(0.6, points).steps == pytest.approx(100 * math.sqrt(2))
    assert reaching.steps_to(0.5, points) == reaching.Reached(100, "<")
    assert reaching.steps_to(0.81, points) == reaching.Reached(400, ">")
    dented = [(100, 0.5), (200, 0.4), (400, 0.8), (800, 0.7), (1600, 0.9)]
    assert reaching.steps_to(0.6, dented).steps == pytest.approx(200 * math.sqrt(2))


def test_what_is_scored_is_not_what_is_trained_on():
    rows = [made_up("greedy", seed, 0.8, counts={"examples_scored": 6400}) for seed in (0, 1)]
    figures_of = cells(rows, of_rules=True)["greedy"]
    assert (figures_of["backpropagated"], figures_of["scored"]) == ("3,200", "6,400")
    assert "went forward only" in tables.markdown(rows, of_rules=True)
    assert "went forward only" not in tables.markdown(rows) + tables.markdown(ROWS, of_rules=True)


def test_flop_are_those_of_training_and_choosing_where_rows_know_them():
    flop = {"train": 3_000_000_000_000, "select": 500_000_000_000}
    rows = [made_up("greedy", seed, 0.8, flop=flop) for seed in (0, 1)]
    assert cells(rows, of_rules=True)["greedy"]["TFLOP"] == "3.5"
    assert "| TFLOP |" in tables.markdown(rows, of_rules=True)
    assert "TFLOP" not in tables.markdown(ROWS, of_rules=True) + tables.markdown(rows)


def test_a_run_that_is_named_is_beside_all_others():
    rows = [*ROWS, *lengths("crest other", (0.5, 0.6, 0.7))]
    found = {name: row["− crest"] for name, row in cells(rows, beside="crest").items()}
    assert found["random"] == "−2.00 ± 1.00"
    assert found["crest"] == "–"
    assert found["crest other 100"] == "−31.00"  # another budget
    with pytest.raises(ParameterError, match="--beside: 'other' is not one of random, crest"):
        tables.markdown(rows, beside="other")


def test_seconds_compare_on_one_machine_only():
    slow = {"threads": 1, "cores": 2, "cpu": "slow processor", "python": "3.11"}
    rows = [
        made_up("random", 0, 0.80, 10.0),
        made_up("random", 1, 0.80, 40.0, machine=slow),
        made_up("crest", 0, 0.81, 12.0),
        made_up("crest", 1, 0.81, 44.0, machine=slow),
        made_up("crest", 2, 0.81, 52.0, machine=slow),
        made_up("large", 0, 0.81, 15.0, machine=slow | {"cpu": "a third"}),
    ]
    figures_of = cells(rows)
    assert figures_of["crest"]["seconds"] == "12 / 48"
    assert figures_of["crest"]["÷ random"] == "1.20"  # of 1.2, 1.1 and 1.3
    assert figures_of["crest"]["speed-up over full"] == "8.33\\*"
    assert figures_of["crest"]["− random"] == "+1.00 ± 0.00"
    assert figures_of["large"]["÷ random"] == figures_of["large"]["speed-up over full"] == "–"
    text = tables.markdown(rows)
    assert "given apart, in the machines' order below" in text
    assert text.index("2 runs on 1 of 2 cores of some") < text.index(
        "3 runs on 1 of 2 cores of slow"
    )
    assert "given apart" not in tables.markdown(ROWS)
    with pytest.raises(ParameterError, match="different machines"):
        curves.draw(tables.grouped(rows, None), "seconds")
    curves.draw(tables.grouped(rows, None), "step")


def test_where_full_was_not_run_its_speed_is_computed_and_says_so():
    figures_of = cells(ROWS)
    assert figures_of["crest"]["relative error"] == "–"
    assert figures_of["crest"]["speed-up over full"] == "6.67\\*"  # 1000 steps of 0.1 s over 15 s
    assert "computed: full training was not run" in tables.markdown(ROWS)
    assert "computed" not in tables.markdown([*ROWS, *FULL])


def test_full_training_on_other_threads_is_compared_by_accuracy_and_not_by_seconds():
    two = {"threads": 2, "cores": 2, "cpu": "some processor", "python": "3.11"}
    full = made_up("full", 0, 0.90, 50.0, 1000, overrides={"train.threads": 2}, machine=two)
    figures_of = cells([*ROWS, full])
    assert figures_of["crest"]["relative error"] == "5.56%"  # 5 of 90
    assert figures_of["crest"]["speed-up over full"] == "6.67\\*"
    assert figures_of["full"]["seconds"] == "100 (wall)"
    assert figures_of["full"]["speed-up over full"] == "1.00"
    assert "not run on the same machine and threads" in tables.markdown([*ROWS, full])


def test_a_stated_reference_stands_for_full_training_and_is_marked():
    given = experiment.Experiment("made-up", "Made up.", 0.90, ())
    text = tables.markdown(ROWS, given)
    assert "| 5.56% |" in text  # 5 of 90
    assert "against an accuracy of 90.00% from elsewhere" in text


def test_one_seed_has_no_deviation():
    figures_of = cells([ROWS[0], ROWS[3]])
    assert figures_of["crest"]["accuracy (seeds)"] == "81.00 (1)"
    assert figures_of["crest"]["− random"] == "+1.00"


def test_runs_without_a_common_seed_are_not_compared():
    assert cells([ROWS[0], ROWS[4]])["crest"]["− random"] == "–"


def test_random_is_that_of_the_same_model_data_budget_and_clock():
    other = {"overrides": {"train.budget": 0.2, "train.threads": 1}}
    rows = [
        *ROWS[:3],
        made_up("crest a", 0, 0.7, model="resnet18"),
        made_up("crest b", 0, 0.7, **other),
        made_up("crest c", 0, 0.7, data={"varied": {"repeated": 5}}),
        made_up("crest d", 0, 0.7, device="cuda"),
        made_up("crest e", 0, 0.7),
    ]
    figures_of = cells(rows)
    differences = [figures_of[f"crest {letter}"]["− random"] for letter in "abcde"]
    assert differences == ["–", "–", "–", "−10.00", "−10.00"]
    assert [figures_of[f"crest {letter}"]["÷ random"] for letter in "de"] == ["–", "1.00"]
    assert figures_of["crest d"]["seconds"] == "20 (wall)"


def test_random_in_the_time_of_a_run_is_its_rival():
    given = {"run": "crest", "steps": 150, "seconds": 15.0, "seconds_per_step": 0.1}
    given |= {"clock": "cpu_seconds", "runs": 4}
    rivals = [
        made_up("random in its time", seed, value, 15.0, 150, as_long_as=given)
        for seed, value in ((0, 0.83), (1, 0.86))
    ]
    figures_of = cells([*ROWS, *rivals])
    assert figures_of["crest"]["− random, equal time"] == "−1.00 ± 1.00"
    assert figures_of["crest"]["− random"] == "+2.00 ± 1.00"
    assert figures_of["random in its time"]["− random"] == "+3.50 ± 0.50"
    assert "150 steps fit into 15 processor seconds, the mean of 4 runs" in tables.markdown(
        [*ROWS, *rivals]
    )


def test_the_table_of_an_experiment_is_in_its_order_and_names_what_is_stale(bench, capsys):
    bench(RANDOM + CREST, "--seeds", "0")
    (bench.folder / "short.yaml").write_text(
        SHORT + CREST + RANDOM.replace("}", ", set: {train.lr: 1.0}}")
    )
    capsys.readouterr()
    assert commands.main(["table", str(bench.out)]) == 0
    figures_of = capsys.readouterr().out
    assert figures_of.startswith("ten steps\n")
    assert figures_of.index("| crest |") < figures_of.index("| random |")
    assert "Of other parameters than the experiment has now: random." in figures_of


def test_curves_are_means_over_the_seeds():
    group = tables.Group(tuple(ROWS[:3]))
    across, means, deviations = curves.averaged(group, "cpu_seconds")
    assert across == [5.0, 10.0]
    assert means == pytest.approx([41.5, 83.0])
    assert deviations == pytest.approx([math.sqrt(13) / 2, math.sqrt(13)])


def test_curves_are_drawn_as_two_pictures(tmp_path, capsys):
    rows = Rows(tmp_path / "rows.jsonl")
    for row in ROWS:
        rows.add(row)
    for suffix, head in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        out = tmp_path / f"curve{suffix}"
        assert commands.main(["curves", str(rows.path), "--out", str(out)]) == 0
        for x in ("step", "seconds"):
            assert (tmp_path / f"curve-{x}{suffix}").read_bytes().startswith(head)
    assert commands.main(["curves", str(rows.path), "--out", "curve.jpg"]) == 2
    assert "name it .png or .svg" in capsys.readouterr().err


def test_long_names_leave_room_for_the_curves(tmp_path):
    named = [{**ROWS[0], "name": f"crest with focus and the name {i} of many"} for i in range(6)]
    figure = curves.draw(tables.grouped(named, None), "step")
    curves.write(figure, tmp_path / "curve.png")
    width, height = figure.axes[0].get_position().size
    assert width > 0.7
    assert height > 0.3


def test_the_names_of_the_curves_are_within_the_picture():
    names = ("random", "crest with focus", "focus weighed back", "no focus")
    named = [{**ROWS[0], "name": name} for name in names]
    figure = curves.draw(tables.grouped(named, None), "step")
    figure.canvas.draw()
    assert figure.axes[0].get_legend().get_window_extent().x1 <= figure.bbox.x1


def test_curves_of_different_clocks_do_not_share_a_picture():
    groups = tables.grouped([*ROWS[:3], made_up("wall", 0, 0.5, device="cuda")], None)
    with pytest.raises(ParameterError, match="different clocks"):
        curves.draw(groups, "seconds")
