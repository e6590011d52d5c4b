"""Stratified: random mini-batches in which every class has its share."""

from typing import Any

import torch
from torch import Tensor

from crest.devices.generators import copy_of
from crest.devices.number_types import number_type
from crest.samplers.base import Context, Record
from crest.samplers.passes import Passes
from crest.samplers.random import check_fits
from crest.selection.coresets import MiniBatchCoreset, Outputs, uniform
from crest.selection.shares import proportional


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
        kind = number_type(len(labels))
        self._members = [
            torch.nonzero(labels == label).flatten().to(kind) for label in labels.unique()
        ]
        self._passes = [Passes(len(members), context.generator) for members in self._members]
        self._sizes = torch.tensor([len(members) for members in self._members])

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the next few examples of each class."""
        shares = proportional(self._sizes, self._size, self._generator).tolist()
        return uniform(self._examples([*map(Passes.take, self._passes, shares)]))

    def upcoming(self) -> Tensor:
        """Return the next few examples of each class."""
        copy = copy_of(self._generator)
        shares = proportional(self._sizes, self._size, copy).tolist()
        pairs = zip(self._passes, shares, strict=True)
        return self._examples([passes.foreseen(share, copy) for passes, share in pairs])

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Learn nothing from a step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of each class's pass, and the generator."""
        return {
            "passes": [passes.state_dict() for passes in self._passes],
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of the passes."""
        for passes, saved in zip(self._passes, state["passes"], strict=True):
            passes.load_state_dict(saved)
        self._generator.set_state(state["generator"])

    def record(self) -> Record:
        """Keep nothing."""
        return Record()

    def _examples(self, places: list[Tensor]) -> Tensor:
        """Return the examples at places within each class; int64, m."""
        parts = zip(self._members, places, strict=True)
        return torch.cat([members[some] for members, some in parts]).long()
