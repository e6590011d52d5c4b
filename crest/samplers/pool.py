"""The examples that mini-batch coresets are selected from, and what is known of them."""

from typing import Any

import polars as pl
from torch import Tensor

from crest.inference.forward import ForwardPass
from crest.regions.active import ActiveSet, LearnedExamples
from crest.samplers.example_tracker import ExampleTracker


class Pool:
    """V: all examples but the learned ones (paper, section 4.3).

    Parameters
    ----------
    labels
        int64, n.
    threshold
        α: learned is whose every loss within a window is below it.
    window
        T2 in steps; 0 to keep all.
    floor
        |V| never falls below it.
    """

    def __init__(self, labels: Tensor, threshold: float, window: int, floor: int) -> None:
        self.active = ActiveSet(len(labels))
        self._labels = labels
        self._window = window
        self._floor = floor
        self._learned = LearnedExamples(threshold)
        self._tracker = ExampleTracker(len(labels), errors=False)

    def is_window_over(self, step: int) -> bool:
        """Whether T2 steps went by since the last window's end."""
        return bool(self._window and step and step % self._window == 0)

    def exclude_learned(self, step: int) -> None:
        """Take the examples that the window showed to be learned out of V."""
        self.active.exclude(self._learned.close_window(self.active, self._floor), step)

    def observe(self, scored: ForwardPass, losses: Tensor, step: int) -> None:
        """Record examples that were selected from; ``losses`` are theirs on the CPU, float32 k."""
        if self._window:
            self._learned.record(scored.indices, losses)
        self._tracker.record(scored.indices, scored.correct, losses, step)

    def frame(self) -> pl.DataFrame:
        """Return the 'examples' table of the selection pass."""
        return self._tracker.frame(self._labels, "selection", self.active.excluded_at)

    def state_dict(self) -> dict[str, Any]:
        """Return V, the window's losses and the counts."""
        return {
            "active": self.active.state_dict(),
            "learned": self._learned.state_dict(),
            "tracker": self._tracker.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a window."""
        self.active.load_state_dict(state["active"])
        self._learned.load_state_dict(state["learned"])
        self._tracker.load_state_dict(state["tracker"])
