"""Gradient and Hessian diagonal of the loss on the union of mini-batch coresets (Eq. 6, 7)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest.data.prepared import Split
from crest.inference import evaluating
from crest.selection.coresets import MiniBatchCoreset
from crest.training.precision import Precision


@dataclass(frozen=True)
class Curvature:
    """Gradient g and Hessian diagonal h at one point, flat float32 vectors of all parameters.

    ``products`` is how many Hessian-vector products were taken.
    """

    gradient: Tensor
    hessian: Tensor
    products: int = 1


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """One float32 vector of several tensors."""
    return torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that training moves, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def estimate_curvature(
    model: nn.Module,
    split: Split,
    coresets: Sequence[MiniBatchCoreset],
    precision: Precision,
    generator: torch.Generator,
    draws: int = 1,
    pause: Callable[[], None] | None = None,
) -> Curvature:
    """Estimate g and h on the union of mini-batch coresets.

    The loss is the weighted mean in eval mode without augmentation, as the check measures it, and
    h is Hutchinson's estimate E[z ⊙ (Hz)] with Rademacher z (Eq. 7). Each mini-batch has draws of
    its own: the mean is the same as with one z for all, its variance lower.

    Parameters
    ----------
    coresets
        At least one.
    draws
        Hessian-vector products for each mini-batch.
    pause
        Called before each mini-batch; what it raises ends the estimate.
    """
    parameters = trained_parameters(model)
    count = sum(parameter.numel() for parameter in parameters)
    device = parameters[0].device
    gradient = torch.zeros(count, device=device)
    hessian = torch.zeros(count, device=device)
    with evaluating(model):
        for coreset in coresets:
            if pause is not None:
                pause()
            loss = _coreset_loss(model, split, coreset, precision)
            first = torch.autograd.grad(loss, parameters, create_graph=True)
            gradient += flatten(first)
            for draw in range(draws):
                keep = draw + 1 < draws
                hessian += _hutchinson_draw(first, parameters, generator, keep)
    products = len(coresets) * draws
    return Curvature(gradient / len(coresets), hessian / products, products)


def _coreset_loss(
    model: nn.Module, split: Split, coreset: MiniBatchCoreset, precision: Precision
) -> Tensor:
    """Weighted mean loss of a coreset, in whatever mode the model is."""
    inputs = split.inputs(coreset.indices)
    labels = split.labels[coreset.indices].to(inputs.device)
    with precision.autocast():
        logits = model(inputs)
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    return (losses * coreset.weights.to(losses.device)).mean()


def _hutchinson_draw(
    gradient: Sequence[Tensor],
    parameters: Sequence[nn.Parameter],
    generator: torch.Generator,
    keep_graph: bool,
) -> Tensor:
    """One draw of z ⊙ (Hz): the product Hz is the gradient of g·z."""
    signs = [_rademacher(parameter, generator) for parameter in parameters]
    products = torch.autograd.grad(
        gradient, parameters, signs, retain_graph=keep_graph, materialize_grads=True
    )
    return flatten([sign * product for sign, product in zip(signs, products, strict=True)])


def _rademacher(like: Tensor, generator: torch.Generator) -> Tensor:
    """±1 with equal probability, drawn on the CPU so that every device draws the same."""
    signs = torch.randint(2, like.shape, generator=generator, dtype=torch.int8) * 2 - 1
    return signs.to(like.device, like.dtype)
