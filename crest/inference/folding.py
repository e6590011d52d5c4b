"""Folding BatchNorm into the convolutions before it: the same function in eval mode, cheaper.

In eval mode BatchNorm is the affine map s·x + t of each channel, with s = γ/√(σ² + ε) and
t = β − μs, so that it can be a part of the convolution whose output it takes: the weight times s,
and the bias t. Gradients still reach γ, β and the weight itself, through tensors of a few
thousand numbers instead of whole batches of activations.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from crest.data.prepared import Inputs
from crest.devices.out_of_memory import Halving
from crest.inference.evaluator import Evaluator
from crest.inference.forward import ForwardPass, evaluating

# What a folded model may differ by, relative to its largest logit: rounding in float32.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Fold:
    """A convolution and the BatchNorm that alone takes its output; both by name."""

    convolution: str
    norm: str


@dataclass(frozen=True)
class FoldingEvaluator(Evaluator):
    """An evaluator that folds those BatchNorms of its model that can be folded."""

    folds: tuple[Fold, ...] = ()

    @classmethod
    def of(cls, evaluator: Evaluator) -> "FoldingEvaluator":
        """Find the folds of an evaluator's model, see :func:`find_folds`."""
        examples = evaluator.examples
        some = examples.inputs(torch.arange(min(2, len(examples))))
        return cls(**vars(evaluator), folds=find_folds(evaluator.model, some))

    def folded(self) -> AbstractContextManager[None]:
        """Run the model folded, in eval mode, for the length of a block."""
        return folded(self.model, self.folds)

    def score(
        self,
        indices: Tensor,
        batch_size: int | Halving | None = None,
        features: bool = True,
        draws: Tensor | None = None,
    ) -> ForwardPass:
        """Score examples through the folded model."""
        with self.folded():
            return super().score(indices, batch_size, features, draws)


def find_folds(model: nn.Module, inputs: Inputs) -> tuple[Fold, ...]:
    """Find every BatchNorm that can be folded.

    The pairs are those seen in a forward pass, tried with statistics that are drawn at random, for
    which the model's own step aside. Where that changes the logits, such as where a convolution's
    output is used once more before it is normalised, nothing is folded. Nothing is copied.

    Parameters
    ----------
    inputs
        A few examples, such as of shape (2, C, H, W).

    Returns
    -------
    tuple
        Empty for a model without BatchNorm.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return ()
    with torch.no_grad(), evaluating(model), _randomised(model):
        folds = _pairs(model, inputs)
        if not folds:
            return ()
        expected = model(inputs)
        with folded(model, folds):
            found = model(inputs)
    greatest = float(expected.abs().max())
    if not math.isfinite(greatest):  # of inputs that are no numbers
        return ()
    return folds if torch.allclose(found, expected, rtol=0.0, atol=TOLERANCE * greatest) else ()


@contextmanager
def folded(model: nn.Module, folds: Sequence[Fold]) -> Iterator[None]:
    """Run a model folded, in eval mode, for the length of a block; within another, as it is."""
    pairs = [
        (model.get_submodule(fold.convolution), model.get_submodule(fold.norm)) for fold in folds
    ]
    pairs = [(convolution, norm) for convolution, norm in pairs if "forward" not in vars(norm)]
    with evaluating(model):
        try:
            for convolution, norm in pairs:
                convolution.forward = _folded_forward(convolution, norm)
                norm.forward = _identity
            yield
        finally:
            for convolution, norm in pairs:
                # The class's own forward shows again; no other was there, or there were no fold.
                vars(convolution).pop("forward", None)
                vars(norm).pop("forward", None)


def _folded_forward(convolution: nn.Module, norm: nn.Module):  # type: ignore[no-untyped-def]
    """Return the convolution followed by the normalisation as one function."""
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)

    def forward(inputs: Tensor) -> Tensor:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight
        mean = norm.running_mean
        if convolution.bias is not None:
            mean = mean - convolution.bias
        bias = -mean * scale
        if norm.bias is not None:
            bias = bias + norm.bias
        weight = convolution.weight * scale[:, None, None, None]
        return convolution._conv_forward(inputs, weight, bias)

    return forward


def _identity(inputs: Tensor) -> Tensor:
    return inputs


def _pairs(model: nn.Module, inputs: Inputs) -> tuple[Fold, ...]:
    """Pair each BatchNorm with the convolution whose very output it is given."""
    names = {module: name for name, module in model.named_modules()}
    made: dict[int, tuple[nn.Module, Tensor]] = {}
    folds: list[Fold] = []

    def note_output(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        made[id(output)] = (module, output)  # kept alive, so that no other tensor has its id

    def note_input(module: nn.Module, arguments: tuple[Tensor, ...], _: Tensor) -> None:
        if id(arguments[0]) in made:
            folds.append(Fold(names[made[id(arguments[0])][0]], names[module]))

    hooks = []
    for module in model.modules():
        if "forward" in vars(module):  # replaced by somebody else, such as accelerate
            continue
        if type(module) is nn.Conv2d:
            hooks.append(module.register_forward_hook(note_output))
        if type(module) is nn.BatchNorm2d and module.track_running_stats:
            hooks.append(module.register_forward_hook(note_input))
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(folds)


@contextmanager
def _randomised(model: nn.Module) -> Iterator[None]:
    """Give every BatchNorm statistics and weights that a fold at the wrong place would show.

    Its own are put aside for the length of a block, not written to.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(like: Tensor) -> Tensor:
        return (torch.rand(like.shape, generator=generator) + 0.5).to(like.device, like.dtype)

    kept: list[tuple[dict[str, Any], str, Tensor]] = []
    try:
        for module in model.modules():
            if not isinstance(module, nn.BatchNorm2d):
                continue
            for name in ("running_mean", "running_var", "weight", "bias"):
                # One of the two holds it; setting an attribute would keep what is trained.
                both: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
                for places in both:
                    if (tensor := places.get(name)) is not None:
                        kept.append((places, name, tensor))
                        places[name] = draw(tensor)
        yield
    finally:
        for places, name, tensor in kept:
            places[name] = tensor
