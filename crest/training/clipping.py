"""Gradients clipped to a greatest norm, for one step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer


@contextmanager
def clipped(optimizer: Optimizer, greatest: float | None) -> Iterator[None]:
    """Scale all gradients g of an optimiser by min(1, greatest/‖g‖) for the length of a block.

    Afterwards they are the loss's again, for methods that learn from them.

    Parameters
    ----------
    greatest
        Of the Euclidean norm of all gradients together; None to clip nothing.

    References
    ----------
    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, ICML
    2013.
    """
    gradients = [
        weight.grad
        for group in optimizer.param_groups
        for weight in group["params"]
        if weight.grad is not None
    ]
    norm = float(get_total_norm(gradients)) if greatest is not None else 0.0
    if greatest is None or not norm > greatest:
        yield
        return
    torch._foreach_mul_(gradients, greatest / norm)
    try:
        yield
    finally:
        torch._foreach_mul_(gradients, norm / greatest)
