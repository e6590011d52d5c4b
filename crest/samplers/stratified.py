"""Stratified: random mini-batches in which every class has its share."""

from typing import Any

from torch import Tensor

from crest.devices.generators import copy_of
from crest.samplers.base import Context, Record
from crest.samplers.random import check_fits
from crest.samplers.stratified_passes import StratifiedPasses
from crest.selection.coresets import MiniBatchCoreset, Outputs, uniform


class Stratified:
    """Yields mini-batches of exactly m, of which each class has m·n_c/n of its n_c examples.

    Where that is no whole number it is rounded up or down at random, right on average, so that
    every example is trained on equally often and all weights are 1. Each class is drawn
    without replacement through passes of its own.

    Raises
    ------
    ParameterError
        If the mini-batch is larger than the training set.
    """

    def __init__(self, context: Context[Any]) -> None:
        labels = context.train.labels
        check_fits(context.batch_size, len(labels))
        self._size = context.batch_size
        self._generator = context.generator
        self._passes = StratifiedPasses(labels, context.generator)

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the next few examples of each class."""
        return uniform(self._passes.take(self._size))

    def upcoming(self) -> Tensor:
        """Return the next few examples of each class."""
        return self._passes.foreseen(self._size, copy_of(self._generator))

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Learn nothing from a step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of each class's pass, and the generator."""
        return {**self._passes.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of the passes."""
        self._passes.load_state_dict(state)
        self._generator.set_state(state["generator"])

    def record(self) -> Record:
        """Keep nothing."""
        return Record()
