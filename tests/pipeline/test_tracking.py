"""Curves in other programs: what they get, when a run is stopped or a program fails."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from crest.artifacts import read_json
from crest.errors import CrestError, MissingPackageError
from crest.pipeline import tracking
from crest.pipeline.tracking import Tracks, curves_of, numbers_in, require
from crest.training.loop import Point
from stages import train
from tests.conftest import copied
from tests.tiny import digits_parameters

TRACKERS = ("dvclive", "tensorboard", "mlflow", "wandb")
SETTINGS = {"method": "random", "train.lr": 0.1, "train.clip_norm": None}


def point(step: int, loss: float = 2.0) -> Point:
    return Point(step, 100, 1.5, 0.1, loss, 0.25, 32 * step, 1.0, 0.5)


class Recording:
    """A tracker that notes what it is called with."""

    def __init__(self, session: Any, run: str | None) -> None:
        self.run = run or "first"
        self.session, self.went_on = session, run is not None
        self.steps: list[int] = []
        self.ended: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append(step)
        self.values = values

    def finish(self, step: int, values: Mapping[str, float]) -> None:
        self.ended = (step, values)

    def stop(self) -> None:
        self.ended = "stopped"


class Failing(Recording):
    def log(self, step: int, values: Mapping[str, float]) -> None:
        super().log(step, values)
        if step > 10:
            raise ConnectionError("the server\nis away")


@pytest.fixture
def stand_in(monkeypatch):
    """Put a tracker in place of one of another's library; returns those that are started."""

    def put(name: str, kind: type[Recording] = Recording) -> list[Recording]:
        started: list[Recording] = []

        def start(session: Any, run: str | None) -> Recording:
            started.append(kind(session, run))
            return started[-1]

        place = f"{tracking.__package__}.trackers.{name}"
        monkeypatch.setitem(sys.modules, place, SimpleNamespace(start=start))
        return started

    return put


def tracks_of(folder: Path, *names: str) -> Tracks:
    place = folder / ".resume" / "train-random.safetensors"
    return Tracks(names, "train-random", folder, SETTINGS, place)


def test_a_point_is_a_value_of_each_curve() -> None:
    found = curves_of(Point(8, 100, 1.5, 0.1, 2.0, 0.25, 256))
    assert found == {
        "train/loss": 2.0,
        "train/accuracy": 0.25,
        "learning_rate": 0.1,
        "examples": 256,
        "seconds": 1.5,
    }
    assert curves_of(point(8)).keys() - found.keys() == {"validation/loss", "validation/accuracy"}


def test_of_metrics_the_numbers_are_taken() -> None:
    metrics = {
        "method": "crest",
        "steps": 3,
        "seconds": {"train": 0.5},
        "whole": True,
        "flop": None,
    }
    assert dict(numbers_in(metrics)) == {"steps": 3, "seconds/train": 0.5}


def test_a_run_is_tracked_and_ends_the_same(runs, tmp_path, stand_in) -> None:
    started = stand_in("wandb")
    paths = copied(runs, tmp_path)
    before = (paths.train("random") / "model.safetensors").read_bytes()
    parameters = digits_parameters(run={"track": ["wandb"]})
    metrics = train.run(parameters, paths, "random")
    (tracker,) = started
    validation = pl.read_parquet(paths.train("random") / "validation.parquet")
    assert tracker.steps == validation["step"].to_list()
    assert tracker.values["validation/loss"] == validation["loss"][-1]
    assert tracker.values["examples"] == metrics["examples_trained"]
    step, final = tracker.ended
    assert step == metrics["steps"]
    assert final["final/validation_accuracy"] == metrics["validation_accuracy"]
    assert tracker.session.name == "train-random"
    assert tracker.session.settings["train.lr"] == parameters.train.lr
    assert (paths.train("random") / "model.safetensors").read_bytes() == before
    assert not [*(paths.root / ".resume").iterdir()]


def test_a_resumed_run_goes_on_in_the_same_curve_and_no_step_is_twice(tmp_path, stand_in) -> None:
    started = stand_in("wandb")
    with pytest.raises(KeyboardInterrupt), tracks_of(tmp_path, "wandb") as tracks:
        tracks.open(resumed=False)
        tracks.log(point(10))
        tracks.log(point(20))
        raise KeyboardInterrupt
    # Its state was saved before step 20, which comes once more.
    with tracks_of(tmp_path, "wandb") as tracks:
        tracks.open(resumed=True)
        tracks.log(point(20))
        tracks.log(point(30))
    first, second = started
    assert (first.steps, first.ended) == ([10, 20], "stopped")
    assert (second.went_on, second.run, second.steps) == (True, "first", [30])
    assert second.ended == (30, {})


def test_a_run_that_begins_anew_has_a_curve_of_its_own(tmp_path, stand_in) -> None:
    started = stand_in("wandb")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), tracks_of(tmp_path, "wandb") as tracks:
            tracks.open(resumed=False)
            tracks.log(point(10))
            raise KeyboardInterrupt
    assert [(one.went_on, one.steps) for one in started] == [(False, [10]), (False, [10])]


def test_a_tracker_that_fails_is_named_once_and_the_run_goes_on(tmp_path, stand_in, caplog) -> None:
    (failing, whole) = (stand_in("mlflow", Failing), stand_in("wandb"))
    with tracks_of(tmp_path, "mlflow", "wandb") as tracks:
        tracks.open(resumed=False)
        for step in (10, 20, 30):
            tracks.log(point(step))
    assert caplog.messages == [
        "run.track: mlflow: the server is away; the run goes on without it",
    ]
    assert failing[0].steps == [10, 20]
    assert whole[0].steps == [10, 20, 30]
    assert whole[0].ended == (30, {})


def test_a_tracker_that_cannot_begin_is_an_error_before_training(tmp_path, stand_in) -> None:
    class Locked(Recording):
        def __init__(self, session: Any, run: str | None) -> None:
            raise PermissionError("no key; run `wandb login`")

    others = stand_in("mlflow")
    stand_in("wandb", Locked)
    with (
        pytest.raises(CrestError, match=r"run\.track: wandb: no key; run `wandb login`; mend"),
        tracks_of(tmp_path, "mlflow", "wandb") as tracks,
    ):
        tracks.open(resumed=False)
    assert others[0].ended == "stopped"


@pytest.mark.parametrize("name", TRACKERS)
def test_a_library_that_is_missing_is_an_error_that_says_what_to_install(
    name, runs, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"{tracking.__package__}.trackers.{name}", raising=False)
    words = rf'run\.track: {name} is not installed; pip install "crest-coresets\[{name}\]"'
    with pytest.raises(MissingPackageError, match=words):
        train.run(digits_parameters(run={"track": [name]}), runs, "random")


def library(name: str) -> None:
    """Skip where a tracker's library is not installed; each is an extra."""
    pytest.importorskip(name, reason=f"needs the extra '{name}'", exc_type=ImportError)
    require([name])


def stopped_and_resumed(folder: Path, name: str) -> None:
    """Track 10, 20 and, after a stop, 20 and 30."""
    with pytest.raises(KeyboardInterrupt), tracks_of(folder, name) as tracks:
        tracks.open(resumed=False)
        tracks.log(point(10, 4.0))
        tracks.log(point(20, 3.0))
        raise KeyboardInterrupt
    with tracks_of(folder, name) as tracks:
        tracks.open(resumed=True)
        tracks.log(point(20, 3.0))
        tracks.log(point(30, 2.0))
        tracks.conclude({"validation_accuracy": 0.5})


def test_dvclive_writes_its_layout_and_leaves_the_pipeline_alone(tmp_path, monkeypatch) -> None:
    library("dvclive")
    monkeypatch.chdir(tmp_path)
    pipeline = tmp_path / "dvc.yaml"
    pipeline.write_text("stages: {}\n")
    stopped_and_resumed(tmp_path, "dvclive")
    folder = tmp_path / "dvclive" / "train-random"
    loss = folder / "plots" / "metrics" / "train" / "loss.tsv"
    assert loss.read_text() == "step\tloss\n10\t4.0\n20\t3.0\n30\t2.0\n"
    latest = read_json(folder / "metrics.json")
    assert latest["step"] == 30
    assert latest["validation"] == {"loss": 1.0, "accuracy": 0.5}
    assert latest["final"] == {"validation_accuracy": 0.5}
    listed = "metrics:\n- train-random/metrics.json\nplots:\n- train-random/plots/metrics:\n"
    assert (tmp_path / "dvclive" / "dvc.yaml").read_text() == f"{listed}    x: step\n"
    assert pipeline.read_text() == "stages: {}\n"


def test_dvclive_goes_on_where_a_kill_cut_its_latest_values(tmp_path, monkeypatch) -> None:
    library("dvclive")
    monkeypatch.chdir(tmp_path)
    tracks = tracks_of(tmp_path, "dvclive")
    tracks.open(resumed=False)
    tracks.log(point(10))
    metrics = tmp_path / "dvclive" / "train-random" / "metrics.json"
    metrics.write_text(metrics.read_text()[:20])
    with tracks_of(tmp_path, "dvclive") as again:
        again.open(resumed=True)
        again.log(point(20))
    assert json.loads(metrics.read_text())["step"] == 20


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_has_each_step_once(tmp_path) -> None:
    library("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stopped_and_resumed(tmp_path, "tensorboard")
    (folder,) = (tmp_path / "tensorboard" / "train-random").iterdir()
    found = EventAccumulator(str(folder)).Reload()
    assert [(one.step, one.value) for one in found.Scalars("train/loss")] == [
        (10, 4.0),
        (20, 3.0),
        (30, 2.0),
    ]
    assert [one.step for one in found.Scalars("final/validation_accuracy")] == [30]
    assert "settings/text_summary" in found.Tags()["tensors"]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_one_run_with_each_step_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    library("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow import MlflowClient

    stopped_and_resumed(tmp_path, "mlflow")
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("crest").experiment_id])
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in history] == [(10, 4.0), (20, 3.0), (30, 2.0)]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "train-random")
    assert run.data.params["train.lr"] == "0.1"
    assert run.data.metrics["final/validation_accuracy"] == 0.5


@pytest.mark.filterwarnings("ignore")
def test_wandb_goes_on_in_one_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    library("wandb")
    stopped_and_resumed(tmp_path, "wandb")
    names = [path.name for path in (tmp_path / "wandb").glob("offline-run-*")]
    assert len({name.rpartition("-")[2] for name in names}) == 1
