"""Random: fresh random mini-batches, without replacement through each epoch.

Under the compressed schedule this is the strong baseline also called RS2 (repeated sampling of
random subsets); with all steps of the budget it is full training.
"""

from typing import Any

from torch import Tensor

from crest.errors import ParameterError
from crest.samplers.base import Context, Record
from crest.samplers.passes import Passes
from crest.selection.coresets import MiniBatchCoreset, Outputs, uniform


class Random:
    """Yields mini-batches of exactly m; the end of one epoch and the next share a mini-batch.

    Raises
    ------
    ParameterError
        If the mini-batch is larger than the training set.
    """

    def __init__(self, context: Context[Any]) -> None:
        self._size = context.batch_size
        self._generator = context.generator
        check_fits(self._size, len(context.train))
        self._passes = Passes(len(context.train), context.generator)

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the next m examples of the epoch."""
        return uniform(self._passes.take(self._size))

    def upcoming(self) -> Tensor | None:
        """Return the next m examples; None where another epoch begins."""
        return self._passes.peek(self._size)

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Learn nothing from a step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of the epoch, and the generator."""
        return {"passes": self._passes.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of an epoch."""
        self._passes.load_state_dict(state["passes"])
        self._generator.set_state(state["generator"])

    def record(self) -> Record:
        """Keep nothing."""
        return Record()


def check_fits(size: int, examples: int, key: str = "train.batch_size") -> None:
    """Refuse a mini-batch that is larger than the training set; ``key`` is where its size is set.

    Raises
    ------
    ParameterError
        If it is.
    """
    if size > examples:
        raise ParameterError(
            f"{key}: {size} is more than the {examples} training examples; make it smaller"
        )
