"""Passes through each class, of which every draw has its share."""

from typing import Any

import torch
from torch import Tensor

from crest.devices.number_types import number_type
from crest.samplers.passes import Passes
from crest.selection.shares import proportional


class StratifiedPasses:
    """Draws examples without replacement, of each class its share of every draw.

    Of k examples drawn, class c has k·n_c/n. Where that is no whole number it is rounded up or down
    at random, right on average, so that every example comes equally often. ``generator`` (on the
    CPU) is shared with the method, which saves it.
    """

    def __init__(self, labels: Tensor, generator: torch.Generator) -> None:
        kind = number_type(len(labels))
        self._generator = generator
        self._members = [
            torch.nonzero(labels == label).flatten().to(kind) for label in labels.unique()
        ]
        self._passes = [Passes(len(members), generator) for members in self._members]
        self._sizes = torch.tensor([len(members) for members in self._members])

    def take(self, count: int) -> Tensor:
        """Take the next ``count``, one class after another; int64."""
        shares = proportional(self._sizes, count, self._generator).tolist()
        return self._examples([*map(Passes.take, self._passes, shares)])

    def foreseen(self, count: int, generator: torch.Generator) -> Tensor:
        """Return what the next :meth:`take` will, drawn by a copy of its generator."""
        shares = proportional(self._sizes, count, generator).tolist()
        pairs = zip(self._passes, shares, strict=True)
        return self._examples([passes.foreseen(share, generator) for passes, share in pairs])

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of each class's pass."""
        return {"passes": [passes.state_dict() for passes in self._passes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of the passes."""
        for passes, saved in zip(self._passes, state["passes"], strict=True):
            passes.load_state_dict(saved)

    def _examples(self, places: list[Tensor]) -> Tensor:
        """Return the examples at places within each class; int64."""
        parts = zip(self._members, places, strict=True)
        return torch.cat([members[some] for members, some in parts]).long()
