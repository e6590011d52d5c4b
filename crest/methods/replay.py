"""Replay: train on saved coresets, region by region, at no cost of selection."""

from typing import Any

import torch

from crest.errors import ParameterError
from crest.methods.base import Context, Record
from crest.selection.coresets import MiniBatchCoreset


class Replay:
    """Yields saved mini-batches in the order of the run they come from.

    Step t of N uses the region of step ⌊t·N'/N⌋ of the N' saved steps, so that regions are
    stretched or shortened alike. With N = N' the very mini-batch of that step is used, otherwise
    one of the region's drawn at random. Without saved steps all regions last equally long. A
    mini-batch keeps its saved size, whatever train.batch_size is.

    Raises
    ------
    ParameterError
        If the context holds no saved coresets.
    """

    def __init__(self, context: Context) -> None:
        if context.saved is None:
            raise ParameterError(
                "replay.coresets: replay needs saved coresets; name a training run's folder"
            )
        self._saved = context.saved
        self._steps = context.steps
        self._generator = context.generator

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the recorded mini-batch, or one of the region's."""
        sequence = self._saved.sequence
        if sequence is not None and len(sequence) == self._steps:
            region, number = sequence[step]
            return self._saved.regions[region][number]
        coresets = self._saved.regions[self._region(step)]
        return coresets[int(torch.randint(len(coresets), (1,), generator=self._generator))]

    def update(self, step: int, seconds: float) -> None:
        """Learn nothing from a step."""

    def state(self) -> dict[str, Any]:
        """Return the generator: the coresets are saved already."""
        return {"generator": self._generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on drawing where the run stopped."""
        self._generator.set_state(state["generator"])

    def finish(self) -> Record:
        """Keep nothing: the coresets are saved already."""
        return Record()

    def _region(self, step: int) -> int:
        sequence = self._saved.sequence
        if sequence is None:
            return step * len(self._saved.regions) // self._steps
        return sequence[step * len(sequence) // self._steps][0]
