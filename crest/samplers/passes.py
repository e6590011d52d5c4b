"""Passes: places drawn in random order, each once in every pass."""

from typing import Any

import torch
from torch import Tensor

from crest.devices.number_types import number_type


class Passes:
    """Draws the numbers from 0 to ``count`` - 1, without replacement through each pass.

    The end of one pass and the start of the next may come in one draw, and a draw of more than
    ``count`` holds some numbers more than once. ``generator`` (on the CPU) is shared with the
    method, which saves it.
    """

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._count = count
        self._generator = generator
        self._type = number_type(count)
        self._waiting = torch.empty(0, dtype=self._type)

    def take(self, count: int) -> Tensor:
        """Take the next ``count``; int64."""
        waiting = self._refilled(count, self._generator)
        taken, self._waiting = waiting[:count], waiting[count:]
        return taken.long()

    def peek(self, count: int) -> Tensor | None:
        """Return what the next :meth:`take` will; None where it begins another pass."""
        return self._waiting[:count].long() if len(self._waiting) >= count else None

    def foreseen(self, count: int, generator: torch.Generator) -> Tensor:
        """Return what the next :meth:`take` will, whose draws are made by a copy of its generator.

        In another pass too, which costs the time of drawing it.
        """
        return self._refilled(count, generator)[:count].long()

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of the pass."""
        return {"waiting": self._waiting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a pass."""
        self._waiting = state["waiting"]

    def _refilled(self, count: int, generator: torch.Generator) -> Tensor:
        """Return what waits, with so many passes behind it that it is ``count`` at least."""
        waiting = self._waiting
        while len(waiting) < count:
            order = torch.randperm(self._count, generator=generator, dtype=self._type)
            waiting = torch.cat([waiting, order]) if len(waiting) else order
        return waiting
