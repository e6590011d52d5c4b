"""Runs measured by others: random at another's time, and coresets of another."""

import shutil

import pytest

from benchmarks.experiments import (
    runner,
)
from crest.artifacts import read_table
from crest.errors import ArtifactError
from crest.training.schedules import budget_steps, total_steps
from tests.benchmarks.short_experiments import (
    CREST,
    RANDOM,
    made_up,
    places,
)
from tests.tiny import parameters


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
