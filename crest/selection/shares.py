"""Shares: picks and places shared out over groups in proportion to their sizes."""

import torch
from torch import Tensor


def proportional(sizes: Tensor, total: int, generator: torch.Generator) -> Tensor:
    """Share out ``total`` picks; each share is rounded up or down at random, right on average.

    Systematic sampling: the groups lie one after another on a line, in random order, and every
    n/``total``-th example of the n is picked from a random first one.

    Parameters
    ----------
    sizes
        int64, k: examples of each group, n in all.
    total
        At most n.
    generator
        On the CPU.

    Returns
    -------
    Tensor
        int64, k: sums to ``total``, none above its size, and in expectation exactly
        ``total`` · size / n each.
    """
    examples = int(sizes.sum())
    order = torch.randperm(len(sizes), generator=generator)
    offset = torch.randint(examples, (1,), generator=generator)
    # In whole numbers, so that the sum and the expectation are exact.
    ends = (sizes[order].cumsum(0) * total + offset) // examples
    shares = torch.empty_like(sizes)
    shares[order] = ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
    return shares


def stratified_subset(
    members: Tensor, labels: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Draw a random subset in which every class has its share, without replacement.

    Costs O(k log k) for k members.

    Parameters
    ----------
    members
        int64, k: what is drawn from.
    labels
        int64, n, of all examples.
    count
        At most k.
    generator
        On the CPU.

    Returns
    -------
    Tensor
        int64, ``count`` of the members, all different, in random order. Each of them is drawn with
        the chance ``count`` / k.
    """
    order = members[torch.randperm(len(members), generator=generator)]
    order = order[labels[order].argsort(stable=True)]
    _, sizes = labels[order].unique_consecutive(return_counts=True)
    shares = proportional(sizes, count, generator)
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    drawn = order[torch.arange(len(order)) - starts < shares.repeat_interleave(sizes)]
    return drawn[torch.randperm(count, generator=generator)]


def stratified_order(members: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Put members in a random order any stretch of which has every class's share.

    The k members of a class lie at (0 + u)/k, (1 + u)/k, ... of the way, in random order, each
    class with a u from [0, 1): a stretch holds their share, rounded. Costs O(n log n) for n.

    Parameters
    ----------
    members
        int, k: what is put in order.
    labels
        int64, n, of all examples.
    generator
        On the CPU.
    """
    order = members[torch.randperm(len(members), generator=generator, dtype=members.dtype)]
    order = order[labels[order].argsort(stable=True)]
    _, sizes = labels[order].unique_consecutive(return_counts=True)
    offsets = torch.rand(len(sizes), generator=generator).double()
    # In place: of large data, every copy is one of n.
    places = torch.arange(len(order), dtype=torch.float64)
    places -= (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    places += offsets.repeat_interleave(sizes)
    places /= sizes.repeat_interleave(sizes)
    return order[places.argsort(stable=True)]
