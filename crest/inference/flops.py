"""Floating-point operations of a model, counted where they are asked of PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from crest.data.prepared import Split
from crest.inference.forward import evaluating

# What PyTorch has kernels for that are not counted.
UNCOUNTED = (nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True)
class Flops:
    """FLOP of one example: of its forward pass, and of a training step, forward and backward."""

    forward: float
    step: float


def count_flops(model: nn.Module, split: Split) -> Flops | None:
    """Count what the products and convolutions of a model cost; an addition and a product are two.

    The model is called in eval mode on one example, and left as it was. Elementwise work and
    normalisation are left out, as is usual. Of examples that differ in length it is one of median
    length.

    Returns
    -------
    Flops
        Of one example. None where they cannot be counted: of recurrent layers, or where the device
        has no room.

    References
    ----------
    :mod:`torch.utils.flop_counter`.
    """
    if any(isinstance(module, UNCOUNTED) for module in model.modules()):
        return None
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        with (
            evaluating(model),
            _layer_by_layer(),
            torch.enable_grad(),
            FlopCounterMode(display=False) as counter,
        ):
            logits = model(split.inputs(_typical(split)))
            forward = counter.get_total_flops()
            if trained:
                torch.autograd.grad(logits.float().sum(), trained, allow_unused=True)
    except torch.OutOfMemoryError:
        return None
    return Flops(forward, counter.get_total_flops())


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Keep attention from its fused kernels, of which not all are counted."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _typical(split: Split) -> torch.Tensor:
    """Return an example of median length."""
    if split.lengths is None:
        return torch.zeros(1, dtype=torch.int64)
    middle = (len(split) - 1) // 2
    return split.lengths.argsort(stable=True)[middle : middle + 1]
