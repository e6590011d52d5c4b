"""Random order of many numbers, at the pace of a processor's cache."""

from collections.abc import Callable

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
    return _in_buckets(lambda start, end: values[start:end], len(values), generator)


def random_order(count: int, generator: torch.Generator) -> Tensor:
    """Return the numbers below ``count`` in a random order, int32; each order as likely."""
    if count <= PLAIN:
        return torch.randperm(count, generator=generator, dtype=torch.int32)
    return _in_buckets(
        lambda start, end: torch.arange(start, end, dtype=torch.int32), count, generator
    )


def _in_buckets(
    part: Callable[[int, int], Tensor], length: int, generator: torch.Generator
) -> Tensor:
    """Return values in random order, of which ``part`` returns those from a place to another.

    They lie bucket by bucket in the tensor that is returned, and are shuffled there.
    """
    count = min(MOST_BUCKETS, -(-length // IN_CACHE))
    stretches = [(at, min(at + AT_ONCE, length)) for at in range(0, length, AT_ONCE)]
    chosen = torch.empty(length, dtype=torch.uint8)  # the bucket of each
    sizes = []
    for start, end in stretches:
        some = torch.randint(count, (end - start,), generator=generator, dtype=torch.uint8)
        chosen[start:end] = some
        sizes.append(some.bincount(minlength=count))
    ends = torch.stack(sizes).sum(0).cumsum(0).tolist()
    places = [0, *ends[:-1]]
    order = torch.empty(length, dtype=part(0, 0).dtype)
    for (start, end), each in zip(stretches, sizes, strict=True):
        together = part(start, end)[chosen[start:end].argsort(stable=True)]
        for bucket, values in enumerate(together.split(each.tolist())):
            order[places[bucket] : places[bucket] + len(values)] = values
            places[bucket] += len(values)
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        order[start:end] = _shuffled(order[start:end], generator)
    return order


def _shuffled(values: Tensor, generator: torch.Generator) -> Tensor:
    return values[torch.randperm(len(values), generator=generator, dtype=torch.int32)]
