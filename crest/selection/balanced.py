"""Balanced sampling: a subset dealt out into mini-batches that all resemble it, without bias.

Every example has the same chance to be in a mini-batch, so that the mean over a mini-batch errs by
variance alone, whatever is averaged; and of examples that are alike few come together, so that the
variance of whatever the distances reflect is less than that of a random mini-batch.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def local_pivotal(
    distances: NDArray[np.float32], size: int, generator: torch.Generator
) -> NDArray[np.int64]:
    """Draw ``size`` of r examples with equal probability, seldom two that are close.

    The local pivotal method: an undecided example meets its nearest undecided neighbour, and their
    probabilities are moved from one to the other, unchanged on average, until one of the two is in
    or out. Probabilities are counted in units of 1/r, in whole numbers, so that the size is exact.

    Parameters
    ----------
    distances
        r×r, symmetric.
    size
        m, at most r.

    Returns
    -------
    array
        int64, m, in rising order.

    References
    ----------
    Grafström, Lundström and Schelin, Spatially Balanced Sampling through the Pivotal Method,
    Biometrics 2012, the second of their two methods.
    """
    count = len(distances)
    if size == count:
        return np.arange(count)
    chances = [size] * count
    draws = iter(torch.rand(2 * count, generator=generator, dtype=torch.float64).tolist())
    undecided = list(range(count))
    places = list(range(count))  # in the list of the undecided
    # What is decided lies infinitely far from everybody, as everybody from itself.
    apart = distances.astype(np.float32)
    np.fill_diagonal(apart, np.inf)

    def decide(example: int) -> None:
        last, place = undecided.pop(), places[example]
        if last != example:
            undecided[place], places[last] = last, place
        apart[:, example] = np.inf

    while len(undecided) > 1:
        first = undecided[int(next(draws) * len(undecided))]
        second = int(apart[first].argmin())
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
    return np.flatnonzero(np.array(chances) == count)


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
    left = np.arange(len(distances))
    minibatches = []
    for _ in range(each):
        picks = local_pivotal(distances[np.ix_(left, left)], size, generator)
        minibatches.append(left[picks])
        left = np.delete(left, picks)
    return np.stack(minibatches)
