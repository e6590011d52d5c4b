"""Floating-point operations of a model, counted where they are asked of PyTorch."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from crest.data.prepared import Split
from crest.inference.forward import evaluating

SOME = 2  # examples that are counted on


@dataclass(frozen=True)
class Flops:
    """FLOP of one example: of its forward pass, and of a training step, forward and backward."""

    forward: float
    step: float


def count_flops(model: nn.Module, split: Split) -> Flops:
    """Count what the products and convolutions of a model cost; an addition and a product are two.

    The model is called in eval mode and left as it was. Elementwise work and normalisation are left
    out, as is usual. Examples that differ in length cost what one of median length does.

    Returns
    -------
    Flops
        Of one example.

    Source
    ------
    :mod:`torch.utils.flop_counter`.
    """
    indices = _typical(split)
    inputs = split.inputs(indices)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    with evaluating(model):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(inputs)
        forward = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            loss = model(inputs).float().sum()
            torch.autograd.grad(loss, trained, allow_unused=True)
    return Flops(forward / len(indices), counter.get_total_flops() / len(indices))


def _typical(split: Split) -> torch.Tensor:
    """Return a few examples of median length."""
    count = min(SOME, len(split))
    if split.lengths is None:
        return torch.arange(count)
    middle = (len(split) - count) // 2
    return split.lengths.argsort(stable=True)[middle : middle + count]
