"""Spatially balanced sampling: disjoint mini-batches that each resemble their subset, unbiased.

Every example has the same chance to be in a mini-batch, so that the mean over a mini-batch errs by
variance alone, whatever is averaged; and of examples that are close few come together, so that the
variance of whatever the distances reflect is less than that of a random mini-batch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Neighbours that are looked up in order; where all of them are decided, the rest is searched.
NEIGHBOURS = 16


class Neighbours:
    """Finds each example's nearest of those that are open; of equally near ones the first.

    Most searches end within the first few of a list, which is made once for all of a subset's
    mini-batches.

    Parameters
    ----------
    distances
        r×r, symmetric, none negative.
    """

    def __init__(self, distances: NDArray[np.float32]) -> None:
        # From everybody to itself: no example meets itself. Zeros have one sign, for their bits.
        self._distances = distances.astype(np.float32) + np.float32(0.0)
        np.fill_diagonal(self._distances, np.inf)
        self._listed = _nearest(self._distances)
        self.open_only([])

    def open_only(self, examples: Sequence[int]) -> None:
        """Begin anew, with these open."""
        self._open = bytearray(len(self._listed))
        for example in examples:
            self._open[example] = True
        self._left = [listed[:] for listed in self._listed]

    def close(self, example: int) -> None:
        """Let an example be found no more."""
        self._open[example] = False

    def nearest(self, example: int) -> int:
        """Return the nearest open one, of which there must be one."""
        left, is_open = self._left[example], self._open
        while left:
            if is_open[left[-1]]:
                return left[-1]
            left.pop()
        still = np.frombuffer(is_open, dtype=np.bool_)
        return int(np.where(still, self._distances[example], np.inf).argmin())


def _nearest(distances: NDArray[np.float32]) -> list[list[int]]:
    """Return the places of the nearest of each row, the nearest (of equal ones the first) last."""
    count = min(NEIGHBOURS, len(distances) - 1)
    # As a float that is not negative rises, so do its bits.
    keys = distances.view(np.int32).astype(np.int64) << 32 | np.arange(len(distances))
    keys.sort(axis=1)
    return (keys[:, :count][:, ::-1] & 0xFFFFFFFF).tolist()


def local_pivotal(
    neighbours: Neighbours, among: Sequence[int], size: int, generator: torch.Generator
) -> list[int]:
    """Draw ``size`` of k examples with equal probability, seldom two that are close.

    The local pivotal method: an undecided example meets its nearest undecided neighbour, and their
    probabilities are moved from one to the other, unchanged on average, until one of the two is in
    or out. Probabilities are counted in units of 1/k, in whole numbers, so that the size is exact.

    Parameters
    ----------
    among
        k different examples: what is drawn from.
    size
        m, at most k.

    Returns
    -------
    list
        m of them, in their order.

    References
    ----------
    Grafström, Lundström and Schelin, Spatially Balanced Sampling through the Pivotal Method,
    Biometrics 2012, the second of their two methods.
    """
    count = len(among)
    if size == count:
        return list(among)
    draws = iter(torch.rand(2 * count, generator=generator, dtype=torch.float64).tolist())
    undecided = list(among)
    places = {example: place for place, example in enumerate(undecided)}
    chances = dict.fromkeys(undecided, size)
    neighbours.open_only(undecided)

    def decide(example: int) -> None:
        last, place = undecided.pop(), places[example]
        if last != example:
            undecided[place], places[last] = last, place
        neighbours.close(example)

    while len(undecided) > 1:
        first = undecided[int(next(draws) * len(undecided))]
        second = neighbours.nearest(first)
        both = chances[first] + chances[second]
        # One of the two is out, or in; the other keeps what is left.
        settled = 0 if both < count else count
        if next(draws) < (chances[second] - settled) / (both - 2 * settled):
            first, second = second, first
        chances[first], chances[second] = both - settled, settled
        decide(second)
        if chances[first] in (0, count):
            decide(first)
    return [example for example in among if chances[example] == count]


def disjoint_samples(distances: Tensor, size: int, each: int, generator: torch.Generator) -> Tensor:
    """Draw mini-batches from each subset, none of an example in two.

    Each is drawn by :func:`local_pivotal` from what the earlier ones left, and holds any example
    of its subset with probability m/r.

    Parameters
    ----------
    distances
        float32, P×r×r, symmetric.
    size, each
        m, and how many mini-batches; ``each``·m is at most r.

    Returns
    -------
    Tensor
        int64, P×each×m, on the CPU.
    """
    return torch.tensor(
        [_disjoint_samples(subset, size, each, generator) for subset in distances.cpu().numpy()]
    )


def _disjoint_samples(
    distances: NDArray[np.float32], size: int, each: int, generator: torch.Generator
) -> list[list[int]]:
    neighbours, left = Neighbours(distances), list(range(len(distances)))
    minibatches = []
    for _ in range(each):
        picks = local_pivotal(neighbours, left, size, generator)
        minibatches.append(picks)
        picked = set(picks)
        left = [example for example in left if example not in picked]
    return minibatches
