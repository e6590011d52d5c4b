"""Spatial stratification: disjoint mini-batches with one example of each group of near ones.

Each subset is split in two, again and again, until there are m groups of examples that are near one
another; a mini-batch has of each group one example, at random. Every example has the same chance to
be in a mini-batch, so that the mean over it is unbiased, and its variance is that within the groups
alone, whatever is averaged. It is a few tensor operations for all subsets together, log₂ m rounds
of them, on any device: nothing is fetched from there.
"""

from functools import lru_cache

import torch
from torch import Tensor

from crest.devices.transfer import on_device


def disjoint_samples(distances: Tensor, size: int, each: int, generator: torch.Generator) -> Tensor:
    """Draw mini-batches from each subset, none of an example in two.

    Each holds any example of its subset with probability m/r: where r is no multiple of m, some are
    left out first, at random. The draws are the generator's alone, on the CPU, so that every device
    chooses the same where its distances are the same.

    Parameters
    ----------
    distances
        float32, P×r×r, symmetric.
    size, each
        m, and how many mini-batches; ``each``·m is at most r.

    Returns
    -------
    Tensor
        int64, P×each×m, on the device of the distances.

    References
    ----------
    One unit a stratum is the classical design (Cochran, Sampling Techniques, 5A.12). Strata by
    recursive bisection of the auxiliary space: Robertson, McDonald, Price and Brown, Halton
    iterative partitioning, Environmental and Ecological Statistics 2018. Bisected is between two
    far points, as FastMap does (Faloutsos and Lin, SIGMOD 1995), which takes distances alone.
    """
    subsets, count, _ = distances.shape
    among = count // size
    order = _random_order(subsets, count, generator)[:, : size * among]
    groups = _split(distances, on_device(order, distances.device), size)
    draws = torch.rand(groups.shape, generator=generator, dtype=torch.float64).argsort(2)
    drawn = groups.gather(2, on_device(draws[:, :, :each], distances.device))
    return drawn.transpose(1, 2)


def _random_order(rows: int, count: int, generator: torch.Generator) -> Tensor:
    """Return a random order of ``count`` in each row; int64, rows×count."""
    return torch.rand(rows, count, generator=generator, dtype=torch.float64).argsort(1)


def _split(distances: Tensor, order: Tensor, groups: int) -> Tensor:
    """Split examples into groups of near ones, all of one size.

    Parameters
    ----------
    distances
        float32, P×r×r.
    order
        int64, P×k, of different examples; k is a multiple of the groups, m.

    Returns
    -------
    Tensor
        int64, P×m×(k/m).
    """
    subsets, count = order.shape
    flat = distances.flatten(1)
    parts = order.view(subsets, 1, count)
    for places, filled in _levels(groups, count // groups, distances.device):
        parts = _sorted_between_far_points(flat, distances.shape[1], parts, filled)
        parts = parts.flatten(1)[:, places]
    return parts


def _sorted_between_far_points(
    flat: Tensor, count: int, parts: Tensor, filled: Tensor | None
) -> Tensor:
    """Sort the members of each part from one of two far members to the other; the filled first.

    By the law of cosines a place between a and b is (d(a, ·)² − d(b, ·)²) / 2d(a, b), up to a
    constant.
    """
    from_first = _from(flat, count, parts[:, :, :1], parts)
    one = parts.gather(2, _filled(from_first, filled, -1.0).argmax(2, keepdim=True))
    from_one = _from(flat, count, one, parts)
    other = parts.gather(2, _filled(from_one, filled, -1.0).argmax(2, keepdim=True))
    from_other = _from(flat, count, other, parts)
    along = from_one.square() - from_other.square()
    return parts.gather(2, _filled(along, filled, torch.inf).argsort(stable=True))


def _filled(values: Tensor, filled: Tensor | None, other: float) -> Tensor:
    """Return the values, and ``other`` where a place holds no member; None: all do."""
    return values if filled is None else values.masked_fill(~filled, other)


def _from(flat: Tensor, count: int, one: Tensor, parts: Tensor) -> Tensor:
    """Return the distance of each member from one of each part; P×parts×members."""
    return flat.gather(1, (one * count + parts).flatten(1)).view(parts.shape)


@lru_cache(maxsize=64)
def _levels(
    groups: int, size: int, device: torch.device
) -> tuple[tuple[Tensor, Tensor | None], ...]:
    """Return how parts of whole groups are halved, until each is one.

    Of every level: which places of the parts before it are taken by its parts (int64,
    parts×members, flat), and which places of the parts before it hold a member (bool; None: all).
    Parts have one length: behind the shorter ones stand places that hold none.
    """
    levels, counts = [], [groups]
    while max(counts) > 1:
        width = max(counts) * size
        filled = torch.arange(width) < torch.tensor(counts)[:, None] * size
        halves = [
            (number * width + start * size, part)
            for number, count in enumerate(counts)
            for start, part in ((0, (count + 1) // 2), ((count + 1) // 2, count // 2))
            if part
        ]
        counts = [part for _, part in halves]
        within = torch.arange(max(counts) * size)
        starts = torch.tensor([start for start, _ in halves])[:, None]
        ends = starts + torch.tensor(counts)[:, None] * size - 1
        places = torch.minimum(starts + within, ends)
        levels.append(
            (on_device(places, device), None if filled.all() else on_device(filled, device))
        )
    return tuple(levels)
