"""The training loop: it runs every method and knows none of them by name."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import NoReturn

import polars as pl
import torch
from torch import Tensor, nn

from crest.artifacts import TABLES
from crest.data.prepared import Expecting, Split
from crest.data.views.alternating import AlternatingFlips
from crest.devices.distributed import ALONE, Group
from crest.devices.generators import (
    generator_for,
    global_generators,
    set_global_generators,
    torch_seed,
)
from crest.devices.precision import Precision
from crest.errors import ArtifactError, Interrupted, InterruptedAtOnce
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.parameters.sections import TrainParameters
from crest.samplers.base import Foreseeing, Method, Record
from crest.training import optimizers
from crest.training.averaging import WeightAverage
from crest.training.recorder import Recorder, spaced_steps
from crest.training.schedules import learning_rate
from crest.training.snapshots import Snapshots
from crest.training.state import (
    Checkpoint,
    State,
    load_model_state,
    load_optimizer_state,
    model_state,
    optimizer_state,
)
from crest.training.step import Stepper

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Point:
    """How a run stands after some steps, for whoever watches it.

    ``loss`` and ``accuracy`` are means over the mini-batches since the last point, as they were
    before their steps; ``validation_loss`` and ``validation_accuracy`` None where there is no such
    split. ``seconds`` since the start, validation left out; ``examples`` trained on, with repeats.
    """

    step: int
    steps: int
    seconds: float
    learning_rate: float
    loss: float
    accuracy: float
    examples: int
    validation_loss: float | None = None
    validation_accuracy: float | None = None


Report = Callable[[Point], None]


@dataclass(frozen=True)
class Run:
    """What training left behind: the tables of :mod:`crest.artifacts` and its cost.

    ``seconds`` is the wall-clock of choosing, training and saving states, validation and snapshots
    left out; ``examples`` how many were trained on, repeats counted.
    """

    steps: pl.DataFrame
    examples_table: pl.DataFrame
    validation: pl.DataFrame
    record: Record
    seconds: float
    examples: int


def train(
    model: nn.Module,
    method: Method,
    data: Split,
    validation: Split | None,
    steps: int,
    parameters: TrainParameters,
    precision: Precision,
    advance: Advance | None = None,
    checkpoint: Checkpoint | None = None,
    schedule_steps: int | None = None,
    snapshots: Snapshots | None = None,
    group: Group = ALONE,
    report: Report | None = None,
    flips: AlternatingFlips | None = None,
) -> Run:
    """Train a model on what a method chooses.

    With ``parameters.ema_decay`` the validation curve is of the averaged weights, and the model
    holds them in the end; methods choose by, and snapshots are of, those that are trained.

    Parameters
    ----------
    model
        On its device, its weights drawn; trained in place.
    steps
        Optimiser steps.
    advance
        Called with the number of steps taken, for a progress bar.
    checkpoint
        Where the state of an unfinished run is kept; None to keep none.
    schedule_steps
        Length of the learning rate's schedule, which ``steps`` cuts off where it is longer; None
        for a schedule of ``steps``.
    snapshots
        Saves the weights at some steps; None for none.
    group
        The processes that train together. All of them call this, rank 0 alone with ``snapshots``
        and with a checkpoint that writes.
    report
        Called with how the run stands, ``parameters.validations`` times, off the clock.
    flips
        Where flips alternate, what knows those of each example.

    Raises
    ------
    TrainingError
        If a loss is not a finite number.
    ArtifactError
        If the saved state is damaged or of another run.
    Interrupted
        If the checkpoint says to stop; the state is saved, unless it is one at once.
    """
    schedule = schedule_steps or steps
    training = _Training(model, method, data, steps, schedule, parameters, precision, group, flips)
    points = spaced_steps(steps, parameters.validations)
    # What is frozen does as it does where it is used: BatchNorm and dropout rest.
    model.train(parameters.freeze == "none")
    with torch.random.fork_rng(devices=_cuda_devices(precision.device)):
        # Dropout is the only draw without its own generator.
        torch.manual_seed(torch_seed(parameters.seed))
        if checkpoint is not None:
            _restore(training, checkpoint, group)
        if snapshots is not None:
            snapshots.begin(training.steps_taken)
        for step in range(training.steps_taken, steps):
            if checkpoint is not None:
                _keep(training, checkpoint)
            try:
                training.step(step)
            except InterruptedAtOnce:  # in the middle of a step, whose state none could go on from
                raise
            except Interrupted as interrupted:
                _stop(training, checkpoint, interrupted)
            if validation is not None and step + 1 in points:
                training.validate(validation)
            if report is not None and step + 1 in points:
                training.report(report, steps)
            if snapshots is not None and snapshots.due(step + 1):
                training.keep_weights(snapshots)
            if advance is not None:
                advance(step + 1)
    return training.finish()


def _restore(training: "_Training", checkpoint: Checkpoint, group: Group) -> None:
    """Go on from the saved state, if there is one; all processes from the same."""
    if (state := checkpoint.restore()) is not None:
        training.load_state_dict(state)
    if not group.same(training.steps_taken):
        raise ArtifactError(
            f"{checkpoint.path}: the processes find different states of the run, this one that "
            f"after {training.steps_taken} steps; all need the same project folder"
        )


def _keep(training: "_Training", checkpoint: Checkpoint) -> None:
    """Save the state when it is time, and stop when the run is asked to."""
    if signal_number := training.group.asked_to_stop(checkpoint.stop()):
        _stop(training, checkpoint, Interrupted(signal_number))
    if checkpoint.due():
        checkpoint.save(training.state_dict())


def _stop(
    training: "_Training", checkpoint: Checkpoint | None, interrupted: Interrupted
) -> NoReturn:
    """Save the state between two steps, and end the run."""
    if checkpoint is None:
        raise interrupted
    checkpoint.save(training.state_dict())
    training.group.wait()  # a launcher ends all processes as soon as one has ended
    raise Interrupted(
        interrupted.signal_number,
        f"stopped after {training.steps_taken} steps; the same command goes on from there",
    ) from None


class _Training:
    """A run in progress: everything that changes from step to step."""

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        data: Split,
        steps: int,
        schedule_steps: int,
        parameters: TrainParameters,
        precision: Precision,
        group: Group,
        flips: AlternatingFlips | None,
    ) -> None:
        self.group = group
        self.clock = _Clock()
        self.steps_taken = 0
        self._model = model
        self._method = method
        self._data = data
        self._steps = steps
        self._labels = data.labels
        self._schedule_steps = schedule_steps
        self._parameters = parameters
        self._precision = precision
        self._optimizer = optimizers.build(model, parameters)
        self._augmentation = generator_for(parameters.seed, "augmentation")
        self._flips = flips
        self._average: WeightAverage | None = None
        if parameters.ema_decay:
            self._average = WeightAverage(model, parameters.ema_decay)
        self._stepper = Stepper(
            model, self._optimizer, data, self._augmentation, parameters, precision, group, flips
        )
        self._recorder = Recorder(len(data), steps, precision.device)
        self._validated: list[dict[str, float]] = []
        self._reported = 0  # steps at the last point
        self._rate = parameters.lr  # of the last step

    def step(self, step: int) -> None:
        """Ask the method, take one optimiser step, and pass on what it knew."""
        minibatch = self._method.minibatch(step)
        started = time.perf_counter()
        rate = learning_rate(step, self._schedule_steps, self._parameters)
        optimizers.set_rate(self._optimizer, rate)
        self._rate = rate
        outputs = self._stepper.take(minibatch, self._upcoming(step))
        if self._average is not None:
            self._average.update()
        self.steps_taken = step + 1
        self._method.update(minibatch, outputs, time.perf_counter() - started)
        self._recorder.step(step, minibatch, rate, outputs, self.clock.seconds)

    def _upcoming(self, step: int) -> Tensor | None:
        """Return what the next step will train on, where that is known and of use."""
        if step + 1 == self._steps or not isinstance(self._data, Expecting):
            return None
        return self._method.upcoming() if isinstance(self._method, Foreseeing) else None

    def validate(self, split: Split) -> None:
        """Add a point to the validation curve, off the clock."""
        averaged = nullcontext() if self._average is None else self._average.in_model()
        with self._off_the_clock() as seconds, averaged:
            evaluation = evaluate(Evaluator(self._model, split, self._precision, self.group))
        self._validated.append(
            {
                "step": self.steps_taken,
                "seconds": seconds,
                "loss": evaluation.loss,
                "accuracy": evaluation.accuracy,
            }
        )

    def report(self, report: Report, steps: int) -> None:
        """Tell how the run stands, off the clock: whoever is told may take a while."""
        with self._off_the_clock() as seconds:
            report(self._point(steps, seconds))

    def _point(self, steps: int, seconds: float) -> Point:
        since, self._reported = self.steps_taken - self._reported, self.steps_taken
        loss, accuracy = self._recorder.recent(since)
        examples = self._recorder.examples
        found = Point(self.steps_taken, steps, seconds, self._rate, loss, accuracy, examples)
        last = self._validated[-1] if self._validated else None
        if last is None or last["step"] != self.steps_taken:
            return found
        return replace(found, validation_loss=last["loss"], validation_accuracy=last["accuracy"])

    def keep_weights(self, snapshots: Snapshots) -> None:
        """Take a snapshot, off the clock."""
        with self._off_the_clock():
            snapshots.save(self._model, self.steps_taken)

    @contextmanager
    def _off_the_clock(self) -> Iterator[float]:
        """Stop the clock once the device has done its steps; yields the seconds it shows."""
        if self._precision.device.type == "cuda":
            torch.cuda.synchronize(self._precision.device)
        with self.clock.paused() as seconds:
            yield seconds

    def finish(self) -> Run:
        """Return what the run left behind, and have the model hold what is kept of it."""
        if self._average is not None:
            self._average.exchange()
        steps = self._recorder.steps()
        seconds = self.clock.seconds
        return Run(
            steps=steps,
            examples_table=self._recorder.tracker.frame(self._labels, "training"),
            validation=pl.DataFrame(self._validated, schema=dict(TABLES["validation"])),
            record=self._method.record(),
            seconds=seconds,
            examples=self._recorder.examples,
        )

    def state_dict(self) -> State:
        """Return everything that a later :meth:`load_state_dict` needs to go on exactly."""
        return {
            "recorder": self._recorder.state_dict(),  # first: it refuses losses that are no numbers
            "steps_taken": self.steps_taken,
            "reported": self._reported,
            "seconds": self.clock.seconds,
            "model": model_state(self._model),
            "optimizer": optimizer_state(self._optimizer),
            "method": self._method.state_dict(),
            "stepper": self._stepper.state_dict(),
            "augmentation": self._augmentation.get_state(),
            "flips": None if self._flips is None else self._flips.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "dropout": global_generators(self._precision.device),
            "validated": self._validated,
        }

    def load_state_dict(self, state: State) -> None:
        """Take over a saved state."""
        self.steps_taken, self._reported = state["steps_taken"], state["reported"]
        self.clock.set(state["seconds"])
        load_model_state(self._model, state["model"])
        load_optimizer_state(self._optimizer, state["optimizer"])
        self._method.load_state_dict(state["method"])
        self._recorder.load_state_dict(state["recorder"])
        self._stepper.load_state_dict(state["stepper"])
        self._augmentation.set_state(state["augmentation"])
        if self._flips is not None:
            self._flips.load_state_dict(state["flips"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        set_global_generators(self._precision.device, state["dropout"])
        self._validated = state["validated"]


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


class _Clock:
    """Wall-clock since the start, pauses left out."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def set(self, seconds: float) -> None:
        self._start = time.perf_counter() - seconds

    @contextmanager
    def paused(self) -> Iterator[float]:
        """Stop the clock for a block; yields the seconds it shows."""
        paused_at = time.perf_counter()
        yield paused_at - self._start
        self._start += time.perf_counter() - paused_at
