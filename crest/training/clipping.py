"""Gradients clipped to a greatest norm, for one step."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm


def clipped(weights: Sequence[Tensor], greatest: float | None) -> AbstractContextManager[None]:
    """Scale the gradients g of weights by min(1, greatest/‖g‖) for the length of a block.

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
    return nullcontext() if greatest is None else _clipped(weights, greatest)


@contextmanager
def _clipped(weights: Sequence[Tensor], greatest: float) -> Iterator[None]:
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = float(get_total_norm(gradients))
    if not norm > greatest:
        yield
        return
    torch._foreach_mul_(gradients, greatest / norm)
    try:
        yield
    finally:
        torch._foreach_mul_(gradients, norm / greatest)
