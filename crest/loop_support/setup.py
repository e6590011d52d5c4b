"""What a method is given in somebody's loop: made from model, inputs and labels, and tried."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from crest.config import Parameters
from crest.data.given import Gather, GivenSplit, integers
from crest.data.prepared import Inputs
from crest.devices.generators import generator_for
from crest.devices.precision import resolve_precision
from crest.errors import ParameterError
from crest.loop_support.state import digest_of
from crest.models.classifier import Classifier
from crest.parameters.section import Section, flat
from crest.samplers.base import Context
from crest.samplers.saved import SavedCoresets

# What a model or a function raises that cannot take what it is given.
MISFITS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(RuntimeError, TypeError, ValueError),
)


def check_saved(method: str, saved: SavedCoresets | None) -> None:
    """Refuse saved coresets that the method does not use, or that are none.

    Raises
    ------
    ParameterError
        If they are.
    """
    if saved is None:
        return
    if method != "replay":
        raise ParameterError(f"saved: '{method}' does not use saved coresets, replay does")
    if not isinstance(saved, SavedCoresets):
        raise ParameterError(
            f"saved: must be what read_coresets returned, not a {type(saved).__name__}"
        )


def check_scoring_model(method: str, model: Any, large: Any, parameters: Section) -> None:
    """Refuse a model that nothing is scored by, or that is none.

    Raises
    ------
    ParameterError
        If it is.
    """
    if model is None:
        return
    if not isinstance(model, nn.Module):
        raise ParameterError(f"scoring_model: must be a module, not a {type(model).__name__}")
    if model is large:
        raise ParameterError("scoring_model: is the very model that is trained; take another")
    if "proxy" not in getattr(parameters, "score_by", ""):
        raise ParameterError(
            f"scoring_model: '{method}' scores nothing by it; batch_selection does, with "
            "score_by='proxy' or 'memory_and_proxy'"
        )


def scored_by(
    context: Context[Any], split: GivenSplit, model: nn.Module, default: torch.device
) -> Context[Any]:
    """Return the context with a model to score candidates by; tried as the large one is.

    Raises
    ------
    ParameterError
        If it is on another device, has nothing to train or cannot score the examples.
    """
    weight = next(model.parameters(), None)
    device = context.precision.device
    if weight is None or weight.device != device:
        where = "nowhere" if weight is None else f"on {weight.device}"
        raise ParameterError(f"scoring_model: its weights are {where}, the model's on {device}")
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ParameterError(
            "scoring_model: all of its weights are frozen, and it is to be trained"
        )
    wrapped = OnDefaultDevice(model, default)
    try:
        tried(replace(context, model=wrapped), split)
    except ParameterError as error:
        raise ParameterError(f"scoring_model: {error}") from error
    return replace(context, build_model=lambda _: wrapped)


def context_of(
    model: nn.Module,
    inputs: Gather,
    labels: Any,
    lengths: Any,
    saved: SavedCoresets | None,
    steps: int,
    parameters: Parameters,
    method: str,
    default: torch.device,
) -> tuple[Context[Any], GivenSplit]:
    """Return what a method is given, and the examples in it.

    Model and function are called under torch's device ``default``, as the loop has it.

    Raises
    ------
    ParameterError
        If one of them cannot be used.
    """
    if not callable(inputs):
        raise ParameterError(
            "inputs: must be a function of indices, such as lambda indices: images[indices], not "
            f"a {type(inputs).__name__}"
        )
    weight = next(model.parameters(), None)
    if weight is None:
        raise ParameterError(f"model: {type(model).__name__} has no parameters to train")
    numbers = integers(labels, "labels")
    _check_reach(saved, len(numbers))
    costs = None if lengths is None else integers(lengths, "lengths")
    if costs is not None and len(costs) != len(numbers):
        raise ParameterError(f"lengths: {len(costs)} for {len(numbers)} labels; give one for each")
    split = GivenSplit(
        lambda indices: on_default_device(default, inputs, indices), numbers, costs, weight.device
    )
    context = Context(
        model=OnDefaultDevice(model, default),
        train=split,
        steps=steps,
        batch_size=parameters.train.batch_size,
        precision=resolve_precision(parameters.train.precision, weight.device),
        generator=generator_for(parameters.train.seed, "method"),
        parameters=parameters.of_method(method),
        saved=saved,
        may_skip=True,
    )
    return context, split


def _check_reach(saved: SavedCoresets | None, examples: int) -> None:
    """Refuse coresets of more examples than there are."""
    for region in () if saved is None else saved.regions:
        for coreset in region:
            if (highest := int(coreset.indices.max())) >= examples:
                raise ParameterError(
                    f"saved: example {highest} is not among the {examples} labels; these coresets "
                    "were chosen from other data"
                )


class OnDefaultDevice(Classifier):
    """A classifier that runs under torch's default device of the loop that it is of."""

    def __init__(self, network: nn.Module, default: torch.device) -> None:
        super().__init__(network)
        self._default = default

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the logits, B×C."""
        return on_default_device(self._default, super().forward, inputs)


def on_default_device(default: torch.device, call: Callable[[Any], Any], value: Any) -> Any:
    """Call something of the loop's under its default device."""
    if default.type == "cpu":
        return call(value)
    with default:
        return call(value)


def tried(context: Context[Any], split: GivenSplit) -> int:
    """Score two examples, so that a misfit shows before any training; returns the classes.

    Raises
    ------
    ParameterError
        If the model cannot take them, or a label is outside its classes.
    """
    labels = context.train.labels
    ends = torch.tensor([0, len(labels) - 1]).unique()
    try:
        with plain_autograd():
            scored = context.evaluator.score(ends)
    except torch.OutOfMemoryError:
        raise
    except MISFITS as error:
        reason = str(error).strip().partition("\n")[0]
        raise ParameterError(
            f"model, inputs: scoring examples {' and '.join(map(str, ends.tolist()))} fails "
            f"({type(error).__name__}: {reason}); inputs must return what the model takes, for "
            "every one of the labels"
        ) from error
    classes = scored.logits.shape[1]
    if (highest := int(labels.max())) >= classes:
        row = int(labels.argmax())
        from_1 = highest == classes and int(labels.min()) == 1
        raise ParameterError(
            f"labels: row {row}: {highest} is outside the {classes} classes of the model, which "
            f"count from 0{'; subtract 1 from all' if from_1 else ''}"
        )
    if not scored.logits.isfinite().all():
        split.refuse_not_finite(ends)
    return classes


def settings_of(
    method: str, seed: int, context: Context[Any], scoring_model: nn.Module | None = None
) -> dict[str, Any]:
    """Return what a saved state depends on."""
    scorer = {}
    if scoring_model is not None:
        names = [*scoring_model.state_dict()]
        scorer = {"scoring_model": f"{_shapes_of(scoring_model)} {digest_of(names)}"}
    return {
        "method": method,
        "steps": context.steps,
        "batch_size": context.batch_size,
        "seed": seed,
        "precision": context.precision.name,
        "labels": hashlib.sha256(context.train.labels.numpy().tobytes()).hexdigest(),
        "saved": None if context.saved is None else _digest_of(context.saved),
        "model": _shapes_of(context.model),
        **flat(context.parameters),
        **scorer,
    }


def _shapes_of(model: nn.Module) -> str:
    shapes = [(list(weight.shape), str(weight.dtype)) for weight in model.parameters()]
    return hashlib.sha256(repr(shapes).encode()).hexdigest()


def _digest_of(saved: SavedCoresets) -> str:
    coresets = [[one.indices, one.weights] for region in saved.regions for one in region]
    return digest_of([[len(region) for region in saved.regions], coresets, saved.sequence])


def plain_autograd() -> AbstractContextManager[None]:
    """Return a block to score examples in and model the loss, whatever block the loop stands in.

    Whatever is drawn is drawn on the CPU, also where torch's default device is another.
    """
    elsewhere = torch.empty(0).device.type != "cpu"  # of what asks for no device
    if elsewhere or torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        return _plain_autograd(elsewhere)
    return nullcontext()


@contextmanager
def _plain_autograd(elsewhere: bool) -> Iterator[None]:
    device = torch.device("cpu") if elsewhere else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), device:
        yield
