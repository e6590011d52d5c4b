"""A run that was stopped and started again ends like one that never stopped, bit for bit."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import nn

from crest.data.augment import Augmentation
from crest.data.views.alternating import AlternatingFlips
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.errors import ArtifactError, Interrupted, TrainingError
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.methods import METHODS
from crest.models import spec_for
from crest.models.freezing import freeze_backbone
from crest.models.weights import load_model
from crest.pipeline import signals
from crest.samplers.saved import from_tables
from crest.selection.coresets import MiniBatchCoreset
from crest.training.loop import Point, Run, train
from crest.training.recorder import spaced_steps
from crest.training.snapshots import Snapshots, find_snapshots
from crest.training.state import Checkpoint
from crest.training.step import Stepper
from tests.tiny import CPU, context, convnet, image_meta, image_split, parameters

STEPS = 24
CROPPED = Augmentation(crop=1, flip=True)
SECONDS = ("seconds", "seconds_select", "seconds_model", "seconds_check", "seconds_train")


class StopAfter:
    """Asks the run to stop once it has been asked so many times."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self) -> int:
        self.left -= 1
        return 15 if self.left < 0 else 0


def start(
    name: str,
    precision: str,
    checkpoint: Checkpoint | None,
    saved: Run | None = None,
    lr: float = 0.1,
    snapshots: Snapshots | None = None,
    augmentation: Augmentation = CROPPED,
    train_keys: dict[str, object] | None = None,
    **crest: object,
) -> tuple[Run, nn.Module]:
    model = convnet()
    if train_keys and train_keys.get("freeze") == "backbone":
        freeze_backbone(model)
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    split = image_split(augmentation=augmentation)
    base = context(
        model,
        split,
        STEPS,
        crest={"threshold": 0.1, "learned_window": 5, "learned_loss": 0.5, **crest},
        train={"lr": lr, "validations": 3, **(train_keys or {})},
    )
    base = replace(base, precision=Precision(precision, CPU))
    if augmentation.flip == "alternating":
        base = replace(base, flips=AlternatingFlips(len(split), generator_for(0, "flips")))
    if saved is not None:
        coresets = from_tables(saved.record.coresets, None, split.labels, "memory")
        base = replace(base, saved=coresets)
    if checkpoint is not None:
        base = replace(base, stop=checkpoint.stop)
    method = METHODS[name].build(base.of(name))
    settings = base.settings.train
    validation = image_split(30, seed=5)
    done = train(
        model,
        method,
        split,
        validation,
        STEPS,
        settings,
        base.precision,
        checkpoint=checkpoint,
        snapshots=snapshots,
        flips=base.flips,
    )
    return done, model


def timeless(frame: pl.DataFrame | None) -> pl.DataFrame:
    assert frame is not None
    return frame.drop(column for column in SECONDS if column in frame.columns)


def assert_equal_weights(first: nn.Module, second: nn.Module) -> None:
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


def assert_same(first: tuple[Run, nn.Module], second: tuple[Run, nn.Module], name: str) -> None:
    assert_equal_weights(first[1], second[1])
    tables = [(run.steps, run.examples_table, run.validation) for run in (first[0], second[0])]
    if first[0].record.coresets is not None:
        records = [run.record for run in (first[0], second[0])]
        tables = [
            (*some, record.coresets, record.regions, record.scored)
            for some, record in zip(tables, records, strict=True)
        ]
        assert records[0].counts == records[1].counts
    for one, other in zip(*tables, strict=True):
        assert timeless(one).equals(timeless(other))


@pytest.fixture(scope="module")
def crest_run() -> tuple[Run, nn.Module]:
    return start("crest", "float32", None)


# Every way of making choosing cheaper at once, checks that fall between two selections included.
CHEAP = {
    "choice": "spatially_stratified",
    "order": 1,
    "draw": "stratified",
    "selection": "on_demand",
    "subset_coresets": 2,
    "curvature_minibatches": 1,
    "curvature_interval": 7,
    "gradient": "training",
    "region_loss": "filtered",
    "interval_factor": 3.0,
}
# The same, remembering what training saw.
ECONOMICAL = CHEAP | {
    "outputs": "remembered",
    "draw": "without_replacement",
    "focus": 1.0,
    "focus_until": 0.6,
    "focus_weights": True,
}
CRESTS = {"crest": {}, "cheap crest": CHEAP, "focused crest": ECONOMICAL}


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", [*METHODS, "cheap crest", "focused crest"])
def test_stopped_again_and_again_it_ends_the_same(
    tmp_path: Path, name: str, precision: str, crest_run: tuple[Run, nn.Module]
) -> None:
    saved = crest_run[0] if name == "replay" else None
    changes = CRESTS.get(name, {})
    name = "crest" if name in CRESTS else name
    whole = start(name, precision, None, saved, **changes)
    resumed, stops = None, []
    while resumed is None and len(stops) < 200:
        # Eleven calls end in the middle of a region's opening as well as between two steps.
        checkpoint = Checkpoint(tmp_path / "state", {}, 1e9, StopAfter(11))
        try:
            resumed = start(name, precision, checkpoint, saved, **changes)
        except Interrupted as interrupted:
            stops.append(interrupted.exit_code)
    assert len(stops) >= 2
    assert set(stops) == {143}
    assert resumed is not None
    assert_same(whole, resumed, name)


VIEWS = Augmentation(
    flip="alternating", scale=(0.3, 1.0), policy="randaugment", color=0.4, erasing=0.5
)
MIXED = {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1, "ema_decay": 0.9}


@pytest.mark.parametrize(("name", "parts"), [("batch_selection", 1), ("adaptive", 2)])
def test_with_every_view_mixed_and_averaged_it_ends_the_same(
    tmp_path: Path, name: str, parts: int
) -> None:
    keys = {**MIXED, "micro_batches": parts}
    whole = start(name, "float32", None, augmentation=VIEWS, train_keys=keys)
    resumed, stops = None, 0
    while resumed is None and stops < 9:
        checkpoint = Checkpoint(tmp_path / "state", {}, 1e9, StopAfter(9))
        try:
            resumed = start(name, "float32", checkpoint, augmentation=VIEWS, train_keys=keys)
        except Interrupted:
            stops += 1
    assert stops >= 2
    assert resumed is not None
    assert_same(whole, resumed, name)


def test_the_model_ends_with_the_averages_and_snapshots_are_of_what_is_trained(
    tmp_path: Path,
) -> None:
    """What is validated last is what the model holds; steps are those of plain weights."""
    averaged, model = start(
        "random", "float32", None, snapshots=kept_in(tmp_path), train_keys={"ema_decay": 0.9}
    )
    plain, trained = start("random", "float32", None)
    assert timeless(averaged.steps).equals(timeless(plain.steps))
    assert_equal_weights(load_model(find_snapshots(tmp_path)[STEPS])[0], trained)
    assert any(
        not torch.equal(value, trained.state_dict()[name])
        for name, value in model.state_dict().items()
    )
    scored = evaluate(Evaluator(model, image_split(30, seed=5), Precision("float32", CPU)))
    assert averaged.validation["loss"][-1] == scored.loss
    assert averaged.validation["loss"][-1] != plain.validation["loss"][-1]


RATES = {"optimizer": "adamw", "lr": 0.01, "layer_decay": 0.5, "head_lr_factor": 3.0}


@pytest.mark.parametrize("settings", [RATES, {"freeze": "backbone", "micro_batches": 2}])
def test_rates_by_depth_and_a_frozen_backbone_go_on_the_same(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    whole = start("crest", "float32", None, train_keys=settings)
    with pytest.raises(Interrupted):
        checkpoint = Checkpoint(tmp_path / "state", {}, 1e9, StopAfter(9))
        start("crest", "float32", checkpoint, train_keys=settings)
    checkpoint = Checkpoint(tmp_path / "state", {}, 1e9)
    resumed = start("crest", "float32", checkpoint, train_keys=settings)
    assert_same(whole, resumed, "crest")
    still = [
        torch.equal(value, before)
        for value, before in zip(
            whole[1].state_dict().values(), convnet().state_dict().values(), strict=True
        )
    ]
    assert still.count(False) == (2 if "freeze" in settings else len(still))


def test_what_is_told_after_a_resume_is_of_all_steps_since_the_last_time(tmp_path: Path) -> None:
    def points_of(*checkpoints: Checkpoint | None) -> list[tuple[object, ...]]:
        points: list[Point] = []
        for checkpoint in checkpoints:
            model = convnet()
            data = image_split(augmentation=CROPPED)
            base = context(model, data, STEPS, train={"validations": 3})
            method = METHODS["random"].build(base.of("random"))
            arguments = (model, method, data, None, STEPS, base.settings.train)
            with suppress(Interrupted):
                train(
                    *(*arguments, base.precision),
                    checkpoint=checkpoint,
                    report=points.append,
                )
        return [(point.step, point.loss, point.accuracy) for point in points]

    stopped = Checkpoint(tmp_path / "state", {}, 1e9, StopAfter(9))
    assert points_of(stopped, Checkpoint(tmp_path / "state", {}, 1e9)) == points_of(None)


def test_saving_changes_nothing(tmp_path: Path, crest_run: tuple[Run, nn.Module]) -> None:
    checkpoint = Checkpoint(tmp_path / "state", {}, interval=0.0)
    checkpoint.due = lambda: True  # type: ignore[method-assign]
    done = start("crest", "float32", checkpoint)
    assert checkpoint.saves == STEPS
    assert_same(crest_run, done, "crest")


def test_killed_between_two_saves_it_takes_the_same_steps_again(
    tmp_path: Path, crest_run: tuple[Run, nn.Module]
) -> None:
    """What was done since the last save is lost with the process, and done again."""
    kept = tmp_path / "kept"
    checkpoint = Checkpoint(tmp_path / "state", {}, 1e9, StopAfter(10))
    with pytest.raises(Interrupted):
        start("crest", "float32", checkpoint)
    kept.write_bytes(checkpoint.path.read_bytes())
    for _ in range(2):
        checkpoint.path.write_bytes(kept.read_bytes())
        again = start("crest", "float32", Checkpoint(checkpoint.path, {}, 1e9))
        assert_same(crest_run, again, "crest")


def test_told_twice_it_ends_in_the_middle_of_a_step_and_keeps_the_state_from_before(
    tmp_path: Path, crest_run: tuple[Run, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = Stepper.take, []

    def signal_after_a_step(self: Stepper, minibatch: MiniBatchCoreset, *upcoming: Any) -> object:
        outputs = take(self, minibatch, *upcoming)
        taken.append(minibatch)
        if len(taken) == 8:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        return outputs

    with monkeypatch.context() as patch, signals.noted() as stop:
        patch.setattr(Stepper, "take", signal_after_a_step)
        checkpoint = Checkpoint(tmp_path / "state", {}, 0.0, stop)
        checkpoint.due = lambda: True  # type: ignore[method-assign]
        with pytest.raises(Interrupted, match="at once"):
            start("crest", "float32", checkpoint)
    again = start("crest", "float32", Checkpoint(tmp_path / "state", {}, 1e9))
    assert_same(crest_run, again, "crest")


def kept_in(folder: Path) -> Snapshots:
    return Snapshots(folder, spec_for(parameters().train, image_meta()), spaced_steps(STEPS, 5))


def test_snapshots_are_the_same_however_often_the_run_was_stopped(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    _, model = start("crest", "float32", None, snapshots=kept_in(whole))
    ends = 0
    while not ends and len(find_snapshots(stopped)) < 6:
        checkpoint = Checkpoint(tmp_path / "state", {}, 1e9, StopAfter(11))
        try:
            start("crest", "float32", checkpoint, snapshots=kept_in(stopped))
            ends += 1
        except Interrupted:
            continue
    expected, found = find_snapshots(whole), find_snapshots(stopped)
    assert list(found) == list(expected) == [5, 10, 14, 19, 24]
    for step, path in expected.items():
        assert_equal_weights(load_model(path)[0], load_model(found[step])[0])
    assert_equal_weights(model, load_model(found[STEPS])[0])


def test_time_spent_on_snapshots_is_not_training_time(tmp_path: Path) -> None:
    class Slow(Snapshots):
        def save(self, model: nn.Module, steps_taken: int) -> None:
            time.sleep(1.0)

    slow = Slow(tmp_path, spec_for(parameters().train, image_meta()), [1])
    started = time.perf_counter()
    done, _ = start("random", "float32", None, snapshots=slow)
    assert done.seconds <= time.perf_counter() - started - 1.0


def test_a_stop_without_a_checkpoint_just_stops() -> None:
    base = replace(context(steps=3), stop=lambda: 2)
    method = METHODS["crest"].build(base.of("crest"))
    with pytest.raises(Interrupted) as stopped:
        train(base.model, method, base.train, None, 3, base.settings.train, base.precision)
    assert stopped.value.exit_code == 130


def test_a_state_that_does_not_match_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start("random", "float32", Checkpoint(tmp_path / "state", {"lr": "1"}, 1e9, StopAfter(4)))
    before = (tmp_path / "state").read_bytes()
    with pytest.raises(ArtifactError, match="other lr"):
        start("random", "float32", Checkpoint(tmp_path / "state", {"lr": "2"}, 1e9))
    assert (tmp_path / "state").read_bytes() == before


def test_a_diverged_run_keeps_its_last_good_state(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state", {}, interval=0.0)
    checkpoint.due = lambda: True  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"train\.lr"):
        start("random", "float32", checkpoint, lr=1e20)
    state = checkpoint.restore()
    assert state is not None
    assert all(bool(value.isfinite().all()) for value in state["recorder"]["rows"].values())
