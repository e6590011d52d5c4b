"""Replay: train on saved coresets, region by region, at no cost of selection."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crest.devices.generators import copy_of
from crest.errors import ParameterError
from crest.samplers.base import Context, Record
from crest.selection.coresets import MiniBatchCoreset, Outputs


class Replay:
    """Yields saved mini-batches in the order of the run they come from.

    Which mini-batch a step takes is the rule of :meth:`SavedCoresets.minibatch`.

    Where the saved mini-batches are not of train.batch_size, each step draws one that is: as
    many of its region's, drawn at random without repeating, as fill it, and of their examples
    train.batch_size at random. Weights stay as they are, so that its gradient is, on average,
    that of the region's mini-batches. A region that holds less than train.batch_size gives all of
    it.

    Raises
    ------
    ParameterError
        If the context holds no saved coresets.
    """

    def __init__(self, context: Context[Any]) -> None:
        if context.saved is None:
            raise ParameterError(
                "replay.coresets: replay needs saved coresets; name a training run's folder, or "
                "give Coresets what read_coresets returned, as saved"
            )
        self._saved = context.saved
        self._steps = context.steps
        self._size = context.batch_size
        self._resized = not context.saved.all_of_size(context.batch_size)
        self._generator = context.generator
        self._next: int | None = None  # the step to come, where one was taken

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the recorded mini-batch, one of the region's, or one drawn from several."""
        self._next = step + 1
        return self._minibatch(step, self._generator)

    def upcoming(self) -> Tensor | None:
        """Return what the next step takes; None before the first, and after the last."""
        if self._next is None or self._next >= self._steps:
            return None
        return self._minibatch(self._next, copy_of(self._generator)).indices

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Learn nothing from a step."""

    def state_dict(self) -> dict[str, Any]:
        """Return the generator: the coresets are saved already."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on drawing where the run stopped."""
        self._generator.set_state(state["generator"])

    def record(self) -> Record:
        """Keep nothing: the coresets are saved already."""
        return Record()

    def _minibatch(self, step: int, generator: torch.Generator) -> MiniBatchCoreset:
        if self._resized:
            return self._resize(self._saved.region_of(step, self._steps), generator)
        return self._saved.minibatch(step, self._steps, generator)

    def _resize(
        self, coresets: Sequence[MiniBatchCoreset], generator: torch.Generator
    ) -> MiniBatchCoreset:
        taken: list[MiniBatchCoreset] = []
        held = 0
        for number in torch.randperm(len(coresets), generator=generator).tolist():
            taken.append(coresets[number])
            held += len(coresets[number].indices)
            if held >= self._size:
                break
        kept = torch.randperm(held, generator=generator)[: self._size]
        return MiniBatchCoreset(
            indices=torch.cat([coreset.indices for coreset in taken])[kept],
            weights=torch.cat([coreset.weights for coreset in taken])[kept],
            region=coresets[0].region,
        )
