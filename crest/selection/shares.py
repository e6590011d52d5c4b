"""Shares: a number of picks shared out over groups in proportion to their sizes."""

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
