"""How many steps a run needs to reach an accuracy, between the lengths at which it was run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]


@dataclass(frozen=True)
class Reached:
    """``steps`` at which an accuracy is reached.

    ``sign`` is "<" where the shortest run has it already, ">" where the longest falls short, and
    empty between.
    """

    steps: float
    sign: str = ""


def steps_to(accuracy: float, points: Sequence[Point]) -> Reached:
    """Return the fewest steps at which runs of several lengths reach an accuracy.

    Each run has its own schedule, compressed to its steps; between two of them accuracy is taken
    to be linear in the logarithm of the steps.

    Parameters
    ----------
    accuracy
        What is to be reached.
    points
        Steps and accuracy of each length, at least one.
    """
    points = sorted(points)
    first, last = points[0], points[-1]
    if first[1] >= accuracy:
        return Reached(first[0], "<")
    for (before, low), (after, high) in pairwise(points):
        if high >= accuracy:
            share = (accuracy - low) / (high - low)
            return Reached(math.exp(_between(math.log(before), math.log(after), share)))
    return Reached(last[0], ">")


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)
