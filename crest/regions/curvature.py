"""Gradient and Hessian diagonal of the loss on the union of mini-batch coresets (Eq. 6, 7)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from crest.devices.distributed import gradient_dtype
from crest.errors import ParameterError, TrainingError
from crest.inference.evaluator import Evaluator
from crest.inference.forward import evaluating
from crest.models.head import last_layer
from crest.selection.coresets import MiniBatchCoreset

# Words of the errors with which PyTorch says that it cannot differentiate, or not twice.
DERIVATIVE_WORDS = ("derivative", "differentiate", "double backward", "checkpoint")


class NoCurvatureError(TrainingError):
    """A loss whose curvature cannot be had.

    ``reason`` says why, without what to do.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"crest.quadratic.parameters: {reason}; set it to last_layer, or to a pattern "
            "of the parameters after that operation"
        )
        self.reason = reason


@dataclass(frozen=True)
class Curvature:
    """Gradient g and Hessian diagonal h at one point, flat float32 vectors of the parameters.

    ``products`` is how many Hessian-vector products were taken.
    """

    gradient: Tensor
    hessian: Tensor
    products: int = 1


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """One float32 vector of several tensors."""
    with torch.no_grad():
        return torch.cat([dense(tensor).reshape(-1) for tensor in tensors]).float()


def dense(tensor: Tensor) -> Tensor:
    """Return a gradient that may be sparse, as of embeddings that ask for it, as a dense one."""
    return tensor.to_dense() if tensor.is_sparse else tensor


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that training moves, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def covered_parameters(model: nn.Module, quadratic: str) -> list[nn.Parameter]:
    """The parameters that the quadratic model is over, in the model's order.

    Parameters
    ----------
    quadratic
        ``full`` for all that training moves, ``last_layer`` for those of the layer that gives the
        logits (paper, section 5, for RoBERTa), else a pattern of parameters' names, where ``*``
        stands for any text.

    Raises
    ------
    ParameterError
        If no parameter has such a name.
    """
    if quadratic == "full":
        return _some(trained_parameters(model), "every parameter of the model is frozen")
    if quadratic == "last_layer":
        covered = [value for value in last_layer(model).parameters() if value.requires_grad]
        return _some(
            covered, "crest.quadratic.parameters: last_layer, but the model's last layer is frozen"
        )
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    covered = [value for name, value in named.items() if fnmatchcase(name, quadratic)]
    if not covered:
        names = list(named)
        raise ParameterError(
            f"crest.quadratic.parameters: '{quadratic}' is neither full, last_layer nor a "
            f"pattern of a parameter's name; the last ones are {', '.join(names[-4:])}"
        )
    return covered


def _some(parameters: list[nn.Parameter], none: str) -> list[nn.Parameter]:
    if not parameters:
        raise ParameterError(f"{none}: nothing of it is trained (requires_grad); unfreeze some")
    return parameters


def estimate_curvature(
    evaluator: Evaluator,
    coresets: Sequence[MiniBatchCoreset],
    generator: torch.Generator,
    draws: int = 1,
    pause: Callable[[], None] | None = None,
    parameters: Sequence[nn.Parameter] | None = None,
) -> Curvature:
    """Estimate g and h on the union of mini-batch coresets.

    The loss is the weighted mean in eval mode without augmentation, as the check measures it, so
    that a mini-batch too large for the GPU can be taken in pieces. h is Hutchinson's estimate
    E[z ⊙ (Hz)] with Rademacher z (Eq. 7). Each mini-batch has draws of its own: the mean is the
    same as with one z for all, its variance lower.

    Parameters
    ----------
    evaluator
        Its processes estimate on the same mini-batches, each on some; all have the result.
    coresets
        At least one.
    draws
        Hessian-vector products for each mini-batch.
    pause
        Called before each mini-batch; what it raises ends the estimate.
    parameters
        Those of :func:`covered_parameters`; None for all that training moves.

    Parameters that the loss does not depend on in eval mode, such as those of auxiliary heads,
    have g = h = 0.

    Raises
    ------
    NoCurvatureError
        If an operation of the model has no second derivative, or none that is finite, or the loss
        depends on none of the parameters; on every process.
    """
    model, group = evaluator.model, evaluator.group
    parameters = trained_parameters(model) if parameters is None else list(parameters)
    count = sum(parameter.numel() for parameter in parameters)
    device = parameters[0].device
    both = torch.zeros(2, count, dtype=gradient_dtype(device), device=device)
    seeds = torch.randint(2**62, (len(coresets),), generator=generator).tolist()
    # Of attention's kernels only the plain one can be differentiated twice.
    failure: NoCurvatureError | None = None
    with evaluating(model), requiring_only(model, parameters), sdpa_kernel(SDPBackend.MATH):
        for number in group.share(len(coresets)):
            if pause is not None:
                pause()
            coreset = coresets[number]
            halving = evaluator.precision.halving(len(coreset.indices), "estimating curvature")
            work = partial(_of_coreset, evaluator, coreset, seeds[number], draws, parameters)
            try:
                both += halving.run(work)
            except NoCurvatureError as error:
                failure = error
                break
    if not group.lowest(int(failure is None)):  # a process with no share has not seen it
        raise failure or NoCurvatureError("another process found no second derivative")
    gradient, hessian = group.sum(both)
    if not both.isfinite().all():
        which = "second" if gradient.isfinite().all() else "first"
        raise NoCurvatureError(f"the {which} derivative of the loss is not all finite numbers")
    products = len(coresets) * draws
    return Curvature((gradient / len(coresets)).float(), (hessian / products).float(), products)


@contextmanager
def requiring_only(model: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Ask for the gradients of some parameters only, for the length of a block.

    The forward pass then keeps nothing of the layers before them.
    """
    kept = {id(parameter) for parameter in parameters}
    others = [value for value in trained_parameters(model) if id(value) not in kept]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _of_coreset(
    evaluator: Evaluator,
    coreset: MiniBatchCoreset,
    seed: int,
    draws: int,
    parameters: Sequence[nn.Parameter],
    size: int,
) -> Tensor:
    """Return g and the sum of the draws of h on a coreset, so many examples at once, 2×p.

    All pieces have the same z in a draw, whose product with H is then the sum of theirs.
    """
    count = sum(parameter.numel() for parameter in parameters)
    device = parameters[0].device
    both = torch.zeros(2, count, dtype=gradient_dtype(device), device=device)
    for piece in torch.arange(len(coreset.indices)).split(size):
        signs = torch.Generator().manual_seed(seed)
        loss = _loss_of(evaluator, coreset, piece)
        first = _gradient(loss, parameters)
        both[0] += flatten(first)
        for draw in range(draws):
            keep = draw + 1 < draws
            both[1] += _hutchinson_draw(first, parameters, signs, keep)
    return both


def _loss_of(evaluator: Evaluator, coreset: MiniBatchCoreset, piece: Tensor) -> Tensor:
    """A piece's share of a coreset's weighted mean loss, in whatever mode the model is."""
    indices = coreset.indices[piece.to(coreset.indices.device)]
    weights = coreset.weights[piece.to(coreset.weights.device)]
    split = evaluator.examples
    inputs = split.inputs(indices)
    with evaluator.precision.autocast():
        logits = evaluator.model(inputs)
    labels = split.labels[indices].to(logits.device)
    losses = F.cross_entropy(
        logits.float(), labels, reduction="none", label_smoothing=evaluator.label_smoothing
    )
    share = len(piece) / len(coreset.indices)
    return (losses * weights.to(losses.device)).mean() * share


def _gradient(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Gradient of the loss, to be differentiated again; zeros where it does not depend on one."""
    found: Sequence[Tensor | None] = [None]
    if loss.requires_grad:
        with _explaining():
            found = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
    if all(part is None for part in found):
        raise NoCurvatureError("in eval mode the loss depends on none of the parameters it covers")
    _require_derivatives([part for part in found if part is not None])
    return [
        torch.zeros_like(parameter) if part is None else part
        for part, parameter in zip(found, parameters, strict=True)
    ]


def _require_derivatives(gradient: Sequence[Tensor]) -> None:
    """Raise for a gradient that differentiates to zero where the true one does not.

    That of a function marked as once differentiable does so without an error, since
    torch.autograd.grad leaves out what leads to none of the parameters. No part of a gradient is
    constant otherwise: all of it depends on the probabilities.
    """
    seen: set[Any] = set()
    waiting = [part.grad_fn for part in gradient]
    if any(node is None for node in waiting):
        raise NoCurvatureError("an operation of this model has no second derivative")
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise NoCurvatureError("an operation of this model is differentiable only once")
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]


def _hutchinson_draw(
    gradient: Sequence[Tensor],
    parameters: Sequence[nn.Parameter],
    generator: torch.Generator,
    keep_graph: bool,
) -> Tensor:
    """One draw of z ⊙ (Hz): the product Hz is the gradient of g·z."""
    signs = [_rademacher(parameter, generator) for parameter in parameters]
    # Zeros of what the loss does not depend on.
    depending = [place for place, part in enumerate(gradient) if part.requires_grad]
    with _explaining():
        products = torch.autograd.grad(
            [gradient[place] for place in depending],
            parameters,
            [signs[place] for place in depending],
            retain_graph=keep_graph,
            materialize_grads=True,
        )
    return flatten([sign * product for sign, product in zip(signs, products, strict=True)])


@contextmanager
def _explaining() -> Iterator[None]:
    """Turn PyTorch's error of what cannot be differentiated into a :class:`NoCurvatureError`."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        if not any(word in reason.lower() for word in DERIVATIVE_WORDS):
            raise
        raise NoCurvatureError(
            f"an operation of this model has no second derivative ({reason})"
        ) from None


def _rademacher(like: Tensor, generator: torch.Generator) -> Tensor:
    """±1 with equal probability, drawn on the CPU so that every device draws the same."""
    signs = torch.randint(2, like.shape, generator=generator, dtype=torch.int8) * 2 - 1
    return signs.to(like.device, like.dtype)
