"""Random: fresh random mini-batches, without replacement through each epoch.

Under the compressed schedule this is the strong baseline also called RS2 (repeated sampling of
random subsets); with all steps of the budget it is full training.
"""

from typing import Any

import torch

from crest.errors import ParameterError
from crest.methods.base import Context, Record
from crest.selection.coresets import MiniBatchCoreset, uniform


class Random:
    """Yields mini-batches of exactly m; the end of one epoch and the next share a mini-batch.

    Raises
    ------
    ParameterError
        If the mini-batch is larger than the training set.
    """

    def __init__(self, context: Context) -> None:
        self._examples = len(context.train)
        self._size = context.batch_size
        self._generator = context.generator
        self._waiting = torch.empty(0, dtype=torch.int64)
        if self._size > self._examples:
            raise ParameterError(
                f"train.batch_size: {self._size} is more than the {self._examples} training "
                "examples; make it smaller"
            )

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the next m examples of the epoch."""
        if len(self._waiting) < self._size:
            epoch = torch.randperm(self._examples, generator=self._generator)
            self._waiting = torch.cat([self._waiting, epoch])
        indices, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        return uniform(indices)

    def update(self, step: int, seconds: float) -> None:
        """Learn nothing from a step."""

    def state(self) -> dict[str, Any]:
        """Return what is left of the epoch, and the generator."""
        return {"waiting": self._waiting, "generator": self._generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on in the middle of an epoch."""
        self._waiting = state["waiting"]
        self._generator.set_state(state["generator"])

    def finish(self) -> Record:
        """Keep nothing."""
        return Record()
