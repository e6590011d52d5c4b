"""Balanced sampling: a subset dealt out into mini-batches that all resemble it, without bias.

Every example has the same chance to be in a mini-batch, so that the mean over a mini-batch errs by
variance alone, whatever is averaged; and of examples that are alike few come together, so that the
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
        self._open = bytearray(len(self._distances))
        for example in examples:
            self._open[example] = True
        # Up to there, all listed are closed.
        self._closed = [0] * len(self._distances)

    def close(self, example: int) -> None:
        """Let an example be found no more."""
        self._open[example] = False

    def nearest(self, example: int) -> int:
        """Return the nearest open one, of which there must be one."""
        listed, is_open = self._listed[example], self._open
        for place in range(self._closed[example], len(listed)):
            if is_open[listed[place]]:
                self._closed[example] = place
                return listed[place]
        self._closed[example] = len(listed)
        still = np.frombuffer(is_open, dtype=np.bool_)
        return int(np.where(still, self._distances[example], np.inf).argmin())


def _nearest(distances: NDArray[np.float32]) -> list[list[int]]:
    """Return the places of the nearest of each row, in the order of distance, then of place."""
    count = min(NEIGHBOURS, len(distances) - 1)
    # As a float that is not negative rises, so do its bits.
    keys = distances.view(np.int32).astype(np.int64) << 32 | np.arange(len(distances))
    keys.sort(axis=1)
    return (keys[:, :count] & 0xFFFFFFFF).tolist()


def local_pivotal(
    neighbours: Neighbours, among: NDArray[np.int64], size: int, generator: torch.Generator
) -> NDArray[np.int64]:
    """Draw ``size`` of k examples with equal probability, seldom two that are close.

    The local pivotal method: an undecided example meets its nearest undecided neighbour, and their
    probabilities are moved from one to the other, unchanged on average, until one of the two is in
    or out. Probabilities are counted in units of 1/k, in whole numbers, so that the size is exact.

    Parameters
    ----------
    among
        int64, k, in rising order: what is drawn from.
    size
        m, at most k.

    Returns
    -------
    array
        int64, m, in rising order.

    References
    ----------
    Grafström, Lundström and Schelin, Spatially Balanced Sampling through the Pivotal Method,
    Biometrics 2012, the second of their two methods.
    """
    count = len(among)
    if size == count:
        return among
    draws = iter(torch.rand(2 * count, generator=generator, dtype=torch.float64).tolist())
    undecided = among.tolist()
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
        share = abs(chances[second] - settled) / abs(both - 2 * settled)
        if next(draws) < share:
            first, second = second, first
        chances[first], chances[second] = both - settled, settled
        decide(second)
        if chances[first] in (0, count):
            decide(first)
    return among[[chances[example] == count for example in among.tolist()]]


def deal(distances: Tensor, size: int, each: int, generator: torch.Generator) -> Tensor:
    """Deal mini-batches out of each subset, none of an example in two.

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
    rounds = [_deal_one(subset, size, each, generator) for subset in distances.cpu().numpy()]
    return torch.from_numpy(np.stack(rounds))


def _deal_one(
    distances: NDArray[np.float32], size: int, each: int, generator: torch.Generator
) -> NDArray[np.int64]:
    neighbours, left = Neighbours(distances), np.arange(len(distances))
    minibatches = []
    for _ in range(each):
        picks = local_pivotal(neighbours, left, size, generator)
        minibatches.append(picks)
        left = np.setdiff1d(left, picks, assume_unique=True)
    return np.stack(minibatches)
