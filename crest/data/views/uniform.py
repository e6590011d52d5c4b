"""Random numbers as whole numbers, so that draws are one int64 tensor and exact on every device."""

import torch
from torch import Tensor

# A draw stands for draw / RANGE, uniform in [0, 1).
RANGE = 2**31


def draw_uniform(count: int, columns: int, generator: torch.Generator) -> Tensor:
    """Return int64, count×columns, each uniform in [0, RANGE); ``generator`` is on the CPU."""
    return torch.randint(RANGE, (count, columns), generator=generator)


def between(draws: Tensor, low: float, high: float) -> Tensor:
    """Return float64 numbers of the draws' shape, uniform in [low, high)."""
    return low + (high - low) * (draws.double() / RANGE)


def below(draws: Tensor, counts: Tensor | int) -> Tensor:
    """Return int64 of the draws' shape, uniform in [0, counts); ``counts`` from 1, below 2³¹."""
    return draws * counts >> 31
