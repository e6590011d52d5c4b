"""What a run leaves behind step by step: rows of the tables, and each example's history."""

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from crest.artifacts import TABLES
from crest.difficulty import EARLY, ExampleTracker
from crest.errors import diverged
from crest.selection.coresets import MiniBatchCoreset

# Steps whose results wait on the device, so that the host does not stop for each of them.
FLUSH_EVERY = 64


class Recorder:
    """Collects the results of training steps.

    ``steps`` of the whole run say which of them are early.
    """

    def __init__(self, examples: int, steps: int) -> None:
        self.tracker = ExampleTracker(examples)
        self._early_steps = math.ceil(EARLY * steps)
        self._rows: dict[str, list[float | int]] = {column: [] for column in TABLES["steps"]}
        self._waiting: list[tuple[int, MiniBatchCoreset, *tuple[Tensor, ...]]] = []
        self._examples = 0

    @property
    def examples(self) -> int:
        """Examples trained on so far, repeats counted."""
        return self._examples

    def step(
        self,
        step: int,
        minibatch: MiniBatchCoreset,
        learning_rate: float,
        loss: Tensor,
        losses: Tensor,
        correct: Tensor,
        errors: Tensor,
        predictions: Tensor,
        seconds: float,
    ) -> None:
        """Take note of a step.

        Parameters
        ----------
        loss
            What the step descended, a scalar.
        losses, correct, errors, predictions
            Of each example of the mini-batch, before the step; errors of
            :func:`crest.difficulty.error_norms`, predictions the classes it was classified as.
        seconds
            Since the start of training.
        """
        self._examples += len(minibatch.indices)
        row = {
            "step": step,
            "region": minibatch.region,
            "minibatch": minibatch.number,
            "lr": learning_rate,
            "examples": self._examples,
            "seconds": seconds,
        }
        for column, value in row.items():
            self._rows[column].append(value)
        self._waiting.append((step, minibatch, loss, losses, correct, errors, predictions))
        if len(self._waiting) >= FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Fetch the waiting results.

        Raises
        ------
        TrainingError
            If a loss is not a finite number.
        """
        if not self._waiting:
            return
        steps, minibatches, *shown = zip(*self._waiting, strict=True)
        rows = zip(steps, minibatches, *map(_fetched, shown), strict=True)
        wrong = []
        for step, minibatch, loss, losses, correct, errors, predictions in rows:
            value = float(loss)
            if not math.isfinite(value):
                raise diverged(value, step, minibatch.region)
            self._rows["loss"].append(value)
            self._rows["accuracy"].append(float(correct.double().mean()))
            early = errors if step < self._early_steps else None
            self.tracker.record(minibatch.indices, correct, losses, step, early)
            wrong.append((minibatch.indices[~correct], predictions[~correct]))
        self.tracker.record_wrong(*map(torch.cat, zip(*wrong, strict=True)))
        self._waiting = []

    def state(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state` needs."""
        self.flush()
        kinds = TABLES["steps"]
        rows = {
            column: torch.tensor(values, dtype=_tensor_kind(kinds[column]))
            for column, values in self._rows.items()
        }
        return {"rows": rows, "tracker": self.tracker.state(), "examples": self._examples}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self._rows = {column: values.tolist() for column, values in state["rows"].items()}
        self._examples = state["examples"]
        self.tracker.load_state(state["tracker"])

    def steps(self) -> pl.DataFrame:
        """Return the 'steps' table."""
        self.flush()
        return pl.DataFrame(self._rows, schema=dict(TABLES["steps"]))


def _fetched(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of one type on the CPU, in one transfer."""
    if tensors[0].device.type == "cpu":
        return list(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors]).cpu()
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def _tensor_kind(kind: type[pl.DataType]) -> torch.dtype:
    """Return a type that holds every value of a column exactly."""
    return torch.float64 if kind == pl.Float64 else torch.int64


def spaced_steps(steps: int, count: int) -> frozenset[int]:
    """Return ``count`` evenly spaced numbers of steps taken, the last of them all steps."""
    return frozenset(round(steps * (place + 1) / count) for place in range(count)) - {0}
