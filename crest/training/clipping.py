"""Gradients clipped to a greatest norm, for one step."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from crest.devices.transfer import is_read_at_once


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
    norm = get_total_norm(gradients).double()
    over = norm > greatest
    if is_read_at_once(over) and not over:
        yield
        return
    # A GPU would have to be waited for to know whether there is anything to clip: where there is
    # not, and of a norm that is no number, the factor is 1, which changes no bit.
    _scale(gradients, torch.where(over, greatest / norm, 1.0))
    try:
        yield
    finally:
        _scale(gradients, torch.where(over, norm / greatest, 1.0))


def _scale(gradients: Sequence[Tensor], factor: Tensor) -> None:
    """Multiply gradients in place; ``factor``, float64 without dimensions, is on their device."""
    for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
        some = [gradient for gradient in gradients if gradient.dtype == dtype]
        torch._foreach_mul_(some, factor.to(dtype))
