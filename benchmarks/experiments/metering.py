"""Processor seconds of training alone: validation left out, and added up over interruptions."""

import time
from pathlib import Path

import torch
from torch import Tensor

from crest.data.prepared import Inputs, Split
from crest.training.state import Checkpoint, State


class Meter:
    """Processor seconds of this process, all its threads together, while it is on."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._since is None else time.process_time() - self._since)

    def on(self) -> None:
        if self._since is None:
            self._since = time.process_time()

    def off(self) -> None:
        self._before, self._since = self.seconds, None

    def set(self, seconds: float) -> None:
        self._before, self._since = seconds, None


class MeteredCheckpoint:
    """The checkpoint of a run, whose state also holds the meter and its marks.

    Parameters
    ----------
    points
        Numbers of steps taken at which the meter is marked.
    """

    def __init__(self, checkpoint: Checkpoint, meter: Meter, points: frozenset[int]) -> None:
        self.marks: dict[int, float] = {}
        self._checkpoint = checkpoint
        self._meter = meter
        self._points = points
        self._taken = -1

    @property
    def seconds(self) -> float:
        return self._checkpoint.seconds

    @property
    def path(self) -> Path:
        return self._checkpoint.path

    @property
    def snapshots(self) -> Path:
        return self._checkpoint.snapshots

    def stop(self) -> int:
        """Be asked before each step, after any validation."""
        self._meter.on()
        return self._checkpoint.stop()

    def due(self) -> bool:
        """Be asked once before each step."""
        self._taken += 1
        if self._taken in self._points:
            self.marks.setdefault(self._taken, self._meter.seconds)
        return self._checkpoint.due()

    def save(self, state: State) -> None:
        marks = {str(step): seconds for step, seconds in self.marks.items()}
        self._checkpoint.save({**state, "cpu_seconds": self._meter.seconds, "cpu_marks": marks})

    def restore(self) -> State | None:
        state = self._checkpoint.restore()
        if state is not None:
            self._meter.set(state["cpu_seconds"])
            self.marks = {int(step): seconds for step, seconds in state["cpu_marks"].items()}
            self._taken = state["steps_taken"] - 1
        self._meter.on()
        return state

    def remove(self) -> None:
        self._checkpoint.remove()


class UnmeteredSplit:
    """A validation split: the meter is off from its first example to the next step."""

    def __init__(self, split: Split, meter: Meter) -> None:
        self.labels = split.labels
        self._split = split
        self._meter = meter

    @property
    def lengths(self) -> Tensor | None:
        return self._split.lengths

    def __len__(self) -> int:
        return len(self._split)

    def inputs(self, indices: Tensor) -> Inputs:
        self._meter.off()
        return self._split.inputs(indices)

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        return self._split.draw_views(count, generator)

    def views(self, indices: Tensor, draws: Tensor) -> Inputs:
        return self._split.views(indices, draws)
