"""Averaged weights: an exponential moving average of what training passes through.

References
----------
Polyak and Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control Optim.,
1992; Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """The averages of a model's weights and floating-point buffers, such as BatchNorm's statistics.

    After step t, from 0, with d = min(decay, (1 + t) / (10 + t)), so that short runs have an
    average of their end and not of their beginning: average ← d · average + (1 − d) · weights.
    Buffers are averaged like weights, as torchvision's and timm's recipes do; counts stay.

    Parameters
    ----------
    model
        On its device; its tensors stay where they are in memory.
    decay
        From 0 to below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._values = [
            tensor.detach()
            for tensor in (*model.parameters(), *model.buffers())
            if tensor.is_floating_point()
        ]
        self._averages = [value.clone() for value in self._values]
        self._updates = 0

    def update(self) -> None:
        """Include the weights as they are after a step."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._averages, self._values, 1.0 - decay)
        self._updates += 1

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Have the model hold the averages for a block; then what it held, to the bit."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def exchange(self) -> None:
        """Put the averages into the model, and what it held in their place."""
        for value, average in zip(self._values, self._averages, strict=True):
            held = value.clone()
            value.copy_(average)
            average.copy_(held)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        return {"averages": list(self._averages), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        for average, value in zip(self._averages, state["averages"], strict=True):
            average.copy_(value)
        self._updates = state["updates"]
