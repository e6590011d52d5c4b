"""Random order of many numbers, at the pace of a processor's cache."""

import torch
from torch import Tensor

PLAIN = 2**21  # up to so many, one shuffle of all is faster
IN_CACHE = 2**17  # numbers of a bucket, about
MOST_BUCKETS = 256  # whose numbers a byte holds
AT_ONCE = 2**20  # numbers that are spread over buckets at once


def shuffled(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return values in a random order, each order as likely as any other.

    More than :data:`PLAIN` go into random buckets first, each of which is then shuffled by itself:
    as random, and several times faster where the values do not fit into a cache.

    Parameters
    ----------
    values
        Any type, k. They take as much memory again while they are shuffled.
    generator
        On the CPU.
    """
    if len(values) <= PLAIN:
        return _shuffled(values, generator)
    count = min(MOST_BUCKETS, -(-len(values) // IN_CACHE))
    order = torch.empty_like(values)
    start = 0
    for bucket in _spread(values, count, generator):
        together = _shuffled(torch.cat(bucket), generator)
        order[start : start + len(together)] = together
        start += len(together)
        bucket.clear()
    return order


def random_order(count: int, generator: torch.Generator) -> Tensor:
    """Return the numbers below ``count`` in a random order, int32; each order as likely."""
    if count <= PLAIN:
        return torch.randperm(count, generator=generator, dtype=torch.int32)
    return shuffled(torch.arange(count, dtype=torch.int32), generator)


def _spread(values: Tensor, count: int, generator: torch.Generator) -> list[list[Tensor]]:
    """Put each value into one of so many buckets at random; each bucket is a list of pieces."""
    buckets: list[list[Tensor]] = [[] for _ in range(count)]
    for some in values.split(AT_ONCE):
        chosen = torch.randint(count, (len(some),), generator=generator, dtype=torch.uint8)
        sizes = chosen.bincount(minlength=count).tolist()
        for bucket, part in zip(
            buckets, some[chosen.argsort(stable=True)].split(sizes), strict=True
        ):
            bucket.append(part)
    return buckets


def _shuffled(values: Tensor, generator: torch.Generator) -> Tensor:
    return values[torch.randperm(len(values), generator=generator, dtype=torch.int32)]
