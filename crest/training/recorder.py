"""What a run leaves behind step by step: rows of the tables, and each example's history."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import polars as pl
import torch
from torch import Tensor

from crest.artifacts import TABLES
from crest.devices.transfer import on_device
from crest.errors import diverged
from crest.samplers.example_tracker import EARLY, ExampleTracker, error_norms
from crest.selection.coresets import MiniBatchCoreset, Outputs

# Steps whose results wait on the device, so that the host does not stop for each of them, and
# numbers of their logits.
FLUSH_EVERY = 64
FLUSH_AT = 2**22


@dataclass(frozen=True)
class _Taken:
    """A step whose results wait."""

    step: int
    minibatch: MiniBatchCoreset
    learning_rate: float
    outputs: Outputs
    examples: int
    seconds: float


class Recorder:
    """Collects the results of training steps.

    ``steps`` of the whole run say which of them are early. Histories are kept on ``device``, that
    of the outputs, so that the host takes no part in counting.
    """

    def __init__(self, examples: int, steps: int, device: torch.device | str = "cpu") -> None:
        self.tracker = ExampleTracker(examples, device)
        self._device = torch.device(device)
        self._early_steps = math.ceil(EARLY * steps)
        self._rows: dict[str, list[float | int]] = {column: [] for column in TABLES["steps"]}
        self._waiting: list[_Taken] = []
        self._waiting_numbers = 0
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
        outputs: Outputs,
        seconds: float,
    ) -> None:
        """Take note of a step.

        Parameters
        ----------
        outputs
            What the step knew of the mini-batch; kept for a while, not to be written to.
        seconds
            Since the start of training.
        """
        self._examples += len(minibatch.indices)
        self._waiting.append(
            _Taken(step, minibatch, learning_rate, outputs, self._examples, seconds)
        )
        self._waiting_numbers += outputs.logits.numel()
        if len(self._waiting) >= FLUSH_EVERY or self._waiting_numbers >= FLUSH_AT:
            self.flush()

    def recent(self, steps: int) -> tuple[float, float]:
        """Return the mean loss and accuracy of the last steps, as many as there are of these.

        Raises
        ------
        TrainingError
            As :meth:`flush`.
        """
        self.flush()
        losses, accuracies = self._rows["loss"][-steps:], self._rows["accuracy"][-steps:]
        return fmean(losses), fmean(accuracies)

    def flush(self) -> None:
        """Work out the waiting results, of all steps at once.

        Raises
        ------
        TrainingError
            If a loss is not a finite number.
        """
        if not self._waiting:
            return
        taken = self._waiting
        descended = torch.stack([each.outputs.loss for each in taken]).tolist()
        for each, loss in zip(taken, descended, strict=True):
            if not math.isfinite(loss):
                raise diverged(loss, each.step, each.minibatch.region)
        self._waiting, self._waiting_numbers = [], 0
        logits, labels, losses = (
            torch.cat([getattr(each.outputs, name) for each in taken])
            for name in ("logits", "labels", "losses")
        )
        predictions = logits.argmax(1)
        correct = predictions == labels
        sizes = torch.tensor([len(each.minibatch.indices) for each in taken])
        self._add_rows(taken, descended, correct.cpu(), sizes)
        indices = on_device(torch.cat([each.minibatch.indices for each in taken]), self._device)
        steps = torch.tensor([each.step for each in taken], dtype=torch.int32)
        self.tracker.record(indices, correct, losses, steps.repeat_interleave(sizes))
        self.tracker.record_probabilities(indices, logits, labels)
        wrong = ~correct
        self.tracker.record_wrong(indices[wrong], predictions[wrong])
        early = int(sizes[steps < self._early_steps].sum())  # those of the first few steps
        if early:
            errors = error_norms(logits[:early], labels[:early])
            self.tracker.record_errors(indices[:early], errors)

    def _add_rows(
        self, taken: Sequence[_Taken], losses: list[float], correct: Tensor, sizes: Tensor
    ) -> None:
        """Add a row of the 'steps' table for each step; ``correct`` is of all their examples."""
        right = correct.cumsum(0)[sizes.cumsum(0) - 1].diff(prepend=torch.zeros(1))
        columns: dict[str, list[float | int]] = {
            "step": [each.step for each in taken],
            "region": [each.minibatch.region for each in taken],
            "minibatch": [each.minibatch.number for each in taken],
            "lr": [each.learning_rate for each in taken],
            "loss": [*losses],
            "accuracy": (right.double() / sizes).tolist(),
            "examples": [each.examples for each in taken],
            "seconds": [each.seconds for each in taken],
        }
        for column, values in columns.items():
            self._rows[column] += values

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        self.flush()
        kinds = TABLES["steps"]
        rows = {
            column: torch.tensor(values, dtype=_tensor_kind(kinds[column]))
            for column, values in self._rows.items()
        }
        return {"rows": rows, "tracker": self.tracker.state_dict(), "examples": self._examples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self._rows = {column: values.tolist() for column, values in state["rows"].items()}
        self._examples = state["examples"]
        self.tracker.load_state_dict(state["tracker"])

    def steps(self) -> pl.DataFrame:
        """Return the 'steps' table."""
        self.flush()
        return pl.DataFrame(self._rows, schema=dict(TABLES["steps"]))


def _tensor_kind(kind: type[pl.DataType]) -> torch.dtype:
    """Return a type that holds every value of a column exactly."""
    return torch.float64 if kind == pl.Float64 else torch.int64


def spaced_steps(steps: int, count: int) -> frozenset[int]:
    """Return ``count`` evenly spaced numbers of steps taken, the last of them all steps."""
    return frozenset(round(steps * (place + 1) / count) for place in range(count)) - {0}
