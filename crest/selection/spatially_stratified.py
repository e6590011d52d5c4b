"""Spatial stratification: disjoint mini-batches with one example of each group of near ones.

Each subset is split in two across the direction in which it varies most, and each part again, until
there are m groups of examples that are near one another; a mini-batch has of each group one
example, at random, and of two groups that lie beside each other opposite ones. Every example has
the same chance to be in a mini-batch, so that the mean over it is unbiased, and its variance is at
most about that within the groups, whatever is averaged. It is a few tensor operations for all
subsets together, log₂ m rounds of them, on any device: nothing is fetched from there.
"""

from functools import lru_cache

import torch
from torch import Tensor

from crest.devices.transfer import on_device
from crest.selection.facility_location import one_thread

# Of the power iteration for a direction, which need not be the first principal component exactly.
ITERATIONS = 4


@one_thread()
def disjoint_samples(vectors: Tensor, size: int, each: int, generator: torch.Generator) -> Tensor:
    """Draw mini-batches from each subset, none of an example in two.

    Each holds any example of its subset with probability m/r: where r is no multiple of m, the
    remainder is left out first, itself a sample of this kind, so that what stays resembles its
    subset too. The draws are the generator's alone, on the CPU, so that every device chooses the
    same, up to the rounding of what it computes.

    Parameters
    ----------
    vectors
        float32, P×r×d, such as last-layer gradients.
    size, each
        m, and how many mini-batches; ``each``·m is at most r.

    Returns
    -------
    Tensor
        int64, P×each×m, on the device of the vectors.

    References
    ----------
    One unit a stratum is the classical design (Cochran, Sampling Techniques, 5A.12). Strata by
    recursive bisection of the auxiliary space: Robertson, McDonald, Price and Brown, Halton
    iterative partitioning, Environmental and Ecological Statistics 2018. Opposite draws: Hammersley
    and Morton, A new Monte Carlo technique: antithetic variates, 1956.
    """
    # Of whatever scale; products of four must not overflow, or vanish.
    largest = vectors.abs().amax((1, 2), keepdim=True)
    vectors = vectors / largest.clamp_min(torch.finfo(torch.float32).tiny)
    with torch.autocast(vectors.device.type, enabled=False):  # of a loop of one's own
        groups = _split(vectors, _whole_groups(vectors, size, generator), size)
        groups = _in_order(vectors, groups)
    draws = _opposite_draws(groups.shape, generator)[:, :, :each]
    return groups.gather(2, on_device(draws, vectors.device)).transpose(1, 2)


def _whole_groups(vectors: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return examples that make m groups of one size, in a random order; int64, P×(r − r mod m).

    By Euclid's algorithm: those left out are fewer than m, and what is left out of r for them is
    less again.
    """
    subsets, count, _ = vectors.shape
    order = on_device(_random_order((subsets, count), generator), vectors.device)
    remainder = count % size
    if remainder == 0:
        return order
    left_out = disjoint_samples(vectors, remainder, 1, generator)[:, 0]
    ranks = order.argsort().scatter(1, left_out, count)  # behind all others
    return ranks.argsort()[:, : count - remainder]


def _random_order(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return random orders of as many as the last dimension has; int64."""
    return torch.rand(shape, generator=generator, dtype=torch.float64).argsort()


def _opposite_draws(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return an order for each group, that of every second one opposite to the one before it.

    int64, P×m×size.
    """
    subsets, groups, size = shape
    draws = _random_order((subsets, (groups + 1) // 2, size), generator)
    return torch.stack([draws, size - 1 - draws], 2).flatten(1, 2)[:, :groups]


def _split(vectors: Tensor, order: Tensor, groups: int) -> Tensor:
    """Split examples into groups of near ones, all of one size.

    Parameters
    ----------
    vectors
        float32, P×r×d.
    order
        int64, P×k, of different examples; k is a multiple of the groups, m.

    Returns
    -------
    Tensor
        int64, P×m×(k/m).
    """
    subsets, count = order.shape
    parts = order.view(subsets, 1, count)
    for places, filled in _levels(groups, count // groups, vectors.device):
        along = _along_widest(_of(vectors, parts), filled)
        parts = parts.gather(2, along.argsort(stable=True)).flatten(1)[:, places]
    return parts


def _in_order(vectors: Tensor, groups: Tensor) -> Tensor:
    """Sort the members of every two groups along the one direction in which they vary most."""
    subsets, count, size = groups.shape
    pairs = count // 2
    if not pairs:
        return groups
    paired = groups[:, : 2 * pairs]
    members = _centred(_of(vectors, paired), None).view(subsets, pairs, 2 * size, -1)
    along = _along_widest(members, None).view(paired.shape)
    return torch.cat([paired.gather(2, along.argsort(stable=True)), groups[:, 2 * pairs :]], 1)


def _of(vectors: Tensor, parts: Tensor) -> Tensor:
    """Return the vectors of the members of parts; P×parts×members×d."""
    rows = parts.flatten(1)[:, :, None].expand(-1, -1, vectors.shape[2])
    return vectors.gather(1, rows).view(*parts.shape, -1)


def _along_widest(members: Tensor, filled: Tensor | None) -> Tensor:
    """Return where members lie in the direction in which each part varies most.

    By power iteration from the member that is farthest from the mean; those that are not filled
    (None: all are) lie behind all others.

    Parameters
    ----------
    members
        float32, P×parts×members×d.

    Returns
    -------
    Tensor
        float32, P×parts×members.
    """
    centred = _centred(members, filled)
    far = centred.square().sum(3).argmax(2)[:, :, None, None]
    direction = centred.gather(2, far.expand(-1, -1, 1, members.shape[3]))  # P×parts×1×d
    tiny = torch.finfo(torch.float32).tiny
    for _ in range(ITERATIONS):
        direction = (centred @ direction.mT).mT @ centred
        direction = direction / direction.norm(dim=3, keepdim=True).clamp_min(tiny)
    along = (centred @ direction.mT).squeeze(3)
    return along if filled is None else along.masked_fill(~filled, torch.inf)


def _centred(members: Tensor, filled: Tensor | None) -> Tensor:
    """Return the members less the mean of their part; zeros where there is none."""
    if filled is None:
        return members - members.mean(2, keepdim=True)
    there = filled[:, :, None]
    members = members.masked_fill(~there, 0.0)
    mean = members.sum(2, keepdim=True) / filled.sum(1)[:, None, None]
    return (members - mean).masked_fill(~there, 0.0)


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
        places = on_device(torch.minimum(starts + within, ends), device)
        levels.append((places, None if filled.all() else on_device(filled, device)))
    return tuple(levels)
