"""Replay: train on saved coresets, region by region, at no cost of selection."""

from typing import Any

from torch import Tensor

from crest.errors import ParameterError
from crest.methods.base import Context, Record
from crest.selection.coresets import MiniBatchCoreset


class Replay:
    """Yields saved mini-batches in the order of the run they come from.

    Which mini-batch a step takes is the rule of :meth:`SavedCoresets.minibatch`. A mini-batch keeps
    its saved size, whatever train.batch_size is.

    Raises
    ------
    ParameterError
        If the context holds no saved coresets.
    """

    def __init__(self, context: Context) -> None:
        if context.saved is None:
            raise ParameterError(
                "replay.coresets: replay needs saved coresets; name a training run's folder, or "
                "give Coresets what read_coresets returned, as saved"
            )
        self._saved = context.saved
        self._steps = context.steps
        self._generator = context.generator

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the recorded mini-batch, or one of the region's."""
        return self._saved.minibatch(step, self._steps, self._generator)

    def update(self, step: int, seconds: float, logits: Tensor | None = None) -> None:
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
