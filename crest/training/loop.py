"""The training loop: it runs every method and knows none of them by name."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from crest.artifacts import TABLES
from crest.config import TrainParameters
from crest.data.prepared import Inputs, Split
from crest.difficulty import error_norms
from crest.errors import Interrupted
from crest.methods.base import Method, Record
from crest.selection.coresets import MiniBatchCoreset
from crest.training import optimizers
from crest.training.clipping import clipped
from crest.training.evaluation import evaluate
from crest.training.generators import generator_for
from crest.training.precision import Precision
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

Advance = Callable[[int], None]


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
) -> Run:
    """Train a model on what a method chooses.

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
        Takes the weights at some moments; None for none.

    Raises
    ------
    TrainingError
        If a loss is not a finite number.
    ArtifactError
        If the saved state is damaged or of another run.
    Interrupted
        If the checkpoint says to stop; the state is saved.
    """
    schedule = schedule_steps or steps
    training = _Training(model, method, data, steps, schedule, parameters, precision)
    points = spaced_steps(steps, parameters.validations) if validation else frozenset()
    model.train()
    with torch.random.fork_rng(devices=_cuda_devices(precision.device)):
        torch.manual_seed(parameters.seed)  # dropout is the only draw without its own generator
        if checkpoint is not None and (state := checkpoint.restore()) is not None:
            training.load_state(state)
        if snapshots is not None:
            snapshots.begin(training.steps_taken)
        for step in range(training.steps_taken, steps):
            if checkpoint is not None:
                _keep(training, checkpoint)
            try:
                training.step(step)
            except Interrupted as interrupted:
                _stop(training, checkpoint, interrupted)
            if validation is not None and step + 1 in points:
                training.validate(validation)
            if snapshots is not None and snapshots.due(step + 1):
                training.keep_weights(snapshots)
            if advance is not None:
                advance(step + 1)
    return training.finish()


def _keep(training: "_Training", checkpoint: Checkpoint) -> None:
    """Save the state when it is time, and stop when the run is told to."""
    if signal_number := checkpoint.stop():
        _stop(training, checkpoint, Interrupted(signal_number))
    if checkpoint.due():
        checkpoint.save(training.state())


def _stop(
    training: "_Training", checkpoint: Checkpoint | None, interrupted: Interrupted
) -> NoReturn:
    """Save the state between two steps, and end the run."""
    if checkpoint is None:
        raise interrupted
    checkpoint.save(training.state())
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
    ) -> None:
        self.clock = _Clock()
        self.steps_taken = 0
        self._model = model
        self._method = method
        self._data = data
        self._schedule_steps = schedule_steps
        self._parameters = parameters
        self._precision = precision
        self._optimizer = optimizers.build(model, parameters)
        self._augmentation = generator_for(parameters.seed, "augmentation")
        self._recorder = Recorder(len(data), steps)
        self._validated: list[dict[str, float]] = []

    def step(self, step: int) -> None:
        """Ask the method, take one optimiser step, and tell everybody."""
        minibatch = self._method.minibatch(step)
        started = time.perf_counter()
        rate = learning_rate(step, self._schedule_steps, self._parameters)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        inputs = self._data.augmented(minibatch.indices, self._augmentation)
        labels = self._data.labels[minibatch.indices].to(self._precision.device)
        loss, losses, logits = _take_step(
            self._model,
            self._optimizer,
            inputs,
            labels,
            minibatch,
            self._precision,
            self._parameters.clip_norm,
        )
        self.steps_taken = step + 1
        self._method.update(step, time.perf_counter() - started, logits)
        self._recorder.step(
            step,
            minibatch,
            rate,
            loss,
            losses,
            logits.argmax(1) == labels,
            error_norms(logits, labels),
            self.clock.seconds,
        )

    def validate(self, split: Split) -> None:
        """Add a point to the validation curve, off the clock."""
        with self._off_the_clock() as seconds:
            shown = evaluate(self._model, split, self._precision)
        self._validated.append(
            {
                "step": self.steps_taken,
                "seconds": seconds,
                "loss": shown.loss,
                "accuracy": shown.accuracy,
            }
        )

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
        """Return what the run left behind."""
        steps = self._recorder.steps()
        seconds = self.clock.seconds
        return Run(
            steps=steps,
            examples_table=self._recorder.tracker.frame(self._data.labels, "training"),
            validation=pl.DataFrame(self._validated, schema=dict(TABLES["validation"])),
            record=self._method.finish(),
            seconds=seconds,
            examples=self._recorder.examples,
        )

    def state(self) -> State:
        """Return everything that a later :meth:`load_state` needs to go on exactly."""
        return {
            "recorder": self._recorder.state(),  # first: it refuses losses that are no numbers
            "steps_taken": self.steps_taken,
            "seconds": self.clock.seconds,
            "model": model_state(self._model),
            "optimizer": optimizer_state(self._optimizer),
            "method": self._method.state(),
            "augmentation": self._augmentation.get_state(),
            "dropout": _global_generators(self._precision.device),
            "validated": self._validated,
        }

    def load_state(self, state: State) -> None:
        """Take over a saved state."""
        self.steps_taken = state["steps_taken"]
        self.clock.set(state["seconds"])
        load_model_state(self._model, state["model"])
        load_optimizer_state(self._optimizer, state["optimizer"])
        self._method.load_state(state["method"])
        self._recorder.load_state(state["recorder"])
        self._augmentation.set_state(state["augmentation"])
        _set_global_generators(self._precision.device, state["dropout"])
        self._validated = state["validated"]


def _take_step(
    model: nn.Module,
    optimizer: Optimizer,
    inputs: Inputs,
    labels: Tensor,
    minibatch: MiniBatchCoreset,
    precision: Precision,
    clip_norm: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One optimiser step on the weighted mean loss; loss, and losses and logits before it."""
    optimizer.zero_grad(set_to_none=True)  # first, so that the forward pass has their memory
    with precision.autocast():
        logits = model(inputs)
    logits = logits.float()
    losses = F.cross_entropy(logits, labels, reduction="none")
    loss = (losses * minibatch.weights.to(losses.device)).mean()
    loss.backward()
    with clipped(optimizer, clip_norm):
        optimizer.step()
    return loss.detach(), losses.detach(), logits.detach()


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _global_generators(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_global_generators(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


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
