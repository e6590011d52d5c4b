"""Chances proportional to the sizes of gradients, clamped so that no weight is beyond bounds."""

import math
from collections.abc import Callable

from torch import Tensor

LEAST = 0.25  # chance, one over which is what weights may differ by
HALVINGS = 40  # of the interval in which a limit is looked for


def clamped(norms: Tensor, limit: float, least: float = LEAST) -> Tensor:
    """Return min(1, max(least, ĝ/c)) of each; k."""
    return (norms / limit).clamp(least, 1.0)


def limit_of(norms: Tensor, share: float, least: float = LEAST) -> float:
    """Return c, at which the mean chance is ``share``; norms float32 k, at least 0, some above."""
    return bisected(norms, lambda c: float(clamped(norms, c, least).double().mean()) > share)


def bisected(norms: Tensor, is_below: Callable[[float], bool]) -> float:
    """Return the limit of norms, some of them above 0, at which a function ceases to be true."""
    largest = float(norms.max())
    low, high = 1e-6 * largest, 1e6 * largest
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return math.sqrt(low * high)
