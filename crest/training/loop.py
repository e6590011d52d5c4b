"""The training loop: it runs every method and knows none of them by name."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from crest.artifacts import TABLES
from crest.config import TrainParameters
from crest.data.prepared import Split
from crest.methods.base import Method, Record
from crest.selection.coresets import MiniBatchCoreset
from crest.training import optimizers
from crest.training.evaluation import evaluate
from crest.training.generators import generator_for
from crest.training.precision import Precision
from crest.training.recorder import Recorder, validation_steps
from crest.training.schedules import learning_rate

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Run:
    """What training left behind: the tables of :mod:`crest.artifacts` and its cost.

    ``seconds`` is the wall-clock of choosing and training, validation left out; ``examples`` how
    many were trained on, repeats counted.
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
) -> Run:
    """Train a model on what a method chooses.

    Parameters
    ----------
    model
        On its device, its weights drawn; trained in place.
    steps
        Optimiser steps, the length of the schedule too.
    advance
        Called with the number of steps taken, for a progress bar.

    Raises
    ------
    TrainingError
        If a loss is not a finite number.
    """
    optimizer = optimizers.build(model, parameters)
    augmentation = generator_for(parameters.seed, "augmentation")
    recorder = Recorder(len(data))
    clock = _Clock()
    points = validation_steps(steps, parameters.validations) if validation else frozenset()
    validated: list[dict[str, float]] = []
    model.train()
    with torch.random.fork_rng(devices=_cuda_devices(precision.device)):
        torch.manual_seed(parameters.seed)  # dropout is the only draw without its own generator
        for step in range(steps):
            minibatch = method.minibatch(step)
            started = time.perf_counter()
            rate = _set_learning_rate(optimizer, step, steps, parameters)
            inputs = data.augmented(minibatch.indices, augmentation)
            labels = data.labels[minibatch.indices].to(inputs.device)
            loss, losses, correct = _take_step(
                model, optimizer, inputs, labels, minibatch, precision
            )
            method.update(step, time.perf_counter() - started)
            recorder.step(step, minibatch, rate, loss, losses, correct, clock.seconds)
            if validation is not None and step + 1 in points:
                with clock.paused() as seconds:
                    validated.append(_validate(model, validation, precision, step, seconds))
            if advance is not None:
                advance(step + 1)
    steps_table = recorder.steps()
    seconds = clock.seconds
    return Run(
        steps=steps_table,
        examples_table=recorder.tracker.frame(data.labels, "training"),
        validation=pl.DataFrame(validated, schema=dict(TABLES["validation"])),
        record=method.finish(),
        seconds=seconds,
        examples=recorder.examples,
    )


def _take_step(
    model: nn.Module,
    optimizer: Optimizer,
    inputs: Tensor,
    labels: Tensor,
    minibatch: MiniBatchCoreset,
    precision: Precision,
) -> tuple[Tensor, Tensor, Tensor]:
    """One optimiser step on the weighted mean loss; loss, and losses and correctness before it."""
    with precision.autocast():
        logits = model(inputs)
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    loss = (losses * minibatch.weights.to(losses.device)).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach(), losses.detach(), logits.detach().argmax(1) == labels


def _set_learning_rate(
    optimizer: Optimizer, step: int, steps: int, parameters: TrainParameters
) -> float:
    rate = learning_rate(step, steps, parameters)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def _validate(
    model: nn.Module, split: Split, precision: Precision, step: int, seconds: float
) -> dict[str, float]:
    shown = evaluate(model, split, precision)
    return {
        "step": step + 1,
        "seconds": seconds,
        "loss": shown.loss,
        "accuracy": shown.accuracy,
    }


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


class _Clock:
    """Wall-clock since the start, pauses left out."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    @contextmanager
    def paused(self) -> Iterator[float]:
        """Stop the clock for a block; yields the seconds it shows."""
        paused_at = time.perf_counter()
        yield paused_at - self._start
        self._start += time.perf_counter() - paused_at
