"""The last layer of a classifier: what goes in, and the logits that come out.

It is the linear layer whose output is the logits: as they are, at one place of a sequence (the
last token's, of decoders), or in their mean over places (of tokens, or of a map of 1 x 1
convolutions), which is the layer's output for the mean of its inputs. Of a model without one the
logits are known, and so what follows from them alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from crest.errors import ParameterError

# What the mean of outputs may differ by from the logits, relative to the largest: rounding.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
ROUGH = 3e-2  # in 16 bits


class LastLayer(Protocol):
    """A linear layer: ``weight``, C×d, and ``bias``, C or None."""

    @property
    def weight(self) -> Tensor: ...  # noqa: D102

    @property
    def bias(self) -> Tensor | None: ...  # noqa: D102

    @property
    def in_features(self) -> int: ...  # noqa: D102

    @property
    def out_features(self) -> int: ...  # noqa: D102

    def parameters(self) -> Iterator[nn.Parameter]: ...  # noqa: D102


Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class LinearConvolution:
    """A convolution that sees one place at a time, or all of them once, as a linear layer."""

    module: Convolution

    @property
    def weight(self) -> Tensor:
        """C×d."""
        return self.module.weight.flatten(1)

    @property
    def bias(self) -> Tensor | None:
        """C, or None."""
        return self.module.bias

    @property
    def in_features(self) -> int:
        """D."""
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        """C."""
        return self.module.out_channels

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return those of the convolution."""
        return self.module.parameters()


@dataclass(frozen=True)
class Unavailable:
    """Stands for the last layer of a model without one; whoever uses it gets an error."""

    message: str

    def __getattr__(self, name: str) -> Any:
        """Raise a :class:`ParameterError`, for there is nothing to ask."""
        raise ParameterError(self.message)


@dataclass(frozen=True)
class Head:
    """How a model comes by its logits.

    ``layer`` is the name of its last layer, ``reading`` how the logits are read from that layer's
    outputs, ``classes`` how many they are. Without a layer ``reason`` says why there is none.
    """

    layer: str | None
    reading: str = "rows"
    classes: int = 0
    reason: str = ""


# Of each model that was run, where it is not the linear layer that it registers last.
_known: WeakKeyDictionary[nn.Module, Head] = WeakKeyDictionary()


def last_layer(model: nn.Module) -> LastLayer:
    """Return the linear layer whose output is the logits.

    Until the model has been run by :func:`features_and_logits`, which finds it, that is taken to
    be the linear layer that the model registers last.

    Raises
    ------
    ParameterError
        If the model has none.
    """
    found = last_layer_if_any(model)
    if isinstance(found, Unavailable):
        raise ParameterError(found.message)
    return found


def last_layer_if_any(model: nn.Module) -> LastLayer:
    """Return the last layer, or what raises a :class:`ParameterError` as soon as it is used."""
    module = last_module(model)
    if isinstance(module, nn.Linear):
        return module
    if module is not None:
        return LinearConvolution(module)
    reason = _head(model).reason
    return Unavailable(
        f"train.model: {model._get_name()} {reason}: what needs the last layer itself cannot be "
        "used with it (crest.quadratic.parameters: last_layer, a proxy other than logits, the "
        "method glister)"
    )


def last_module(model: nn.Module) -> nn.Linear | Convolution | None:
    """Return the module of the model that is its last layer; None if it has none."""
    name = _head(model).layer
    module = None if name is None else model.get_submodule(name)
    assert module is None or isinstance(module, nn.Linear | Convolution)
    return module


def classes_of(model: nn.Module) -> int:
    """Return the number of logits."""
    return _head(model).classes or last_layer(model).out_features


def features_and_logits(model: nn.Module, inputs: Any) -> tuple[Tensor, Tensor]:
    """Run the model once and return the last layer's input and its output.

    Parameters
    ----------
    model
        A classifier; its train or eval mode is left as it is.
    inputs
        What the model takes, such as images of shape (B, C, H, W).

    Returns
    -------
    features
        The last layer's input a, of shape (B, d); (B, 0) of a model without such a layer.
    logits
        The model's output, of shape (B, C): W a + b where there is a last layer.

    Raises
    ------
    ParameterError
        If what the model answers are no logits.
    """
    head = _head(model)
    if head.layer is None and not head.classes:  # not run yet
        head = _known[model] = _find_head(model, inputs)
    pair = _run(model, head, inputs)
    if pair is None:
        head = _known[model] = _find_head(model, inputs)
        pair = _run(model, head, inputs)
    if pair is None:
        raise ParameterError(
            f"train.model: {model._get_name()} answers otherwise each time it is asked the same "
            "in eval mode; a classifier's logits must depend on its inputs and weights alone"
        )
    return pair


def _head(model: nn.Module) -> Head:
    """Return what is known of the model's head, or taken for granted."""
    if model in _known:
        return _known[model]
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return Head(names[-1]) if names else Head(None, reason="has no linear layer")


def _run(model: nn.Module, head: Head, inputs: Any) -> tuple[Tensor, Tensor] | None:
    """Return features and logits; None if they are not what the head says."""
    if head.layer is None:
        logits = _logits(model, model(inputs))
        return logits.new_zeros(len(logits), 0), logits
    passes: list[tuple[Tensor, Tensor, int]] = []

    def record(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        if arguments and isinstance(output, Tensor):
            passes.append((arguments[0], output, _version(output)))

    hook = model.get_submodule(head.layer).register_forward_hook(record)
    try:
        answer = model(inputs)
    finally:
        hook.remove()
    if not passes or _version(passes[-1][1]) != passes[-1][2]:
        return None
    return _read(head.reading, *passes[-1][:2], getattr(answer, "logits", answer))


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was written into, 0 where it does not count that."""
    return 0 if tensor.is_inference() else tensor._version


def _read(
    reading: str, inputs: Tensor, outputs: Tensor, answer: Any
) -> tuple[Tensor, Tensor] | None:
    """Read features and logits off the last layer's pass; None if they do not give the answer."""
    if reading == "rows":
        return (inputs, outputs) if _is_output(answer, outputs) else None
    if not isinstance(answer, Tensor) or answer.ndim != 2:
        return None
    if reading == "map":
        rows = outputs.flatten(1)
        return (inputs.flatten(1), answer) if _is_output(answer, rows) else None
    # To B×places×d, from B×d×height×width of a convolution.
    if reading == "mean of map":
        inputs, outputs = (value.flatten(2).transpose(1, 2) for value in (inputs, outputs))
    inputs, outputs = (value.flatten(1, -2) for value in (inputs, outputs))
    if outputs.shape[::2] != answer.shape:
        return None
    if reading == "place":
        same = (outputs == answer[:, None].to(outputs.dtype)).all(2)
        if not same.any(1).all():
            return None
        places = same.int().argmax(1)
        return inputs[torch.arange(len(inputs), device=inputs.device), places], answer
    return (inputs.mean(1), answer) if _nearly(outputs.mean(1), answer) else None


def _is_output(answer: Any, logits: Tensor) -> bool:
    """Whether the model's answer is the layer's output."""
    if logits.ndim != 2 or not isinstance(answer, torch.Tensor):
        return False
    # Identity first: it also holds under torch.func, where a tensor has no address. A view of the
    # logits, as from flatten or squeeze, is another object at the same address, and a copy, as
    # accelerate makes of logits in bf16, has their values.
    if answer is logits:
        return True
    if answer.shape != logits.shape:
        return False
    if answer.data_ptr() == logits.data_ptr():
        return True
    return torch.allclose(answer, logits.to(answer.dtype), rtol=0.0, atol=0.0, equal_nan=True)


def _nearly(found: Tensor, expected: Tensor) -> bool:
    tolerance = max(TOLERANCE.get(value.dtype, ROUGH) for value in (found, expected))
    greatest = float(expected.detach().abs().max().nan_to_num(posinf=0.0))
    return torch.allclose(
        found, expected.to(found.dtype), rtol=0.0, atol=tolerance * greatest, equal_nan=True
    )


@dataclass(frozen=True)
class _Pass:
    name: str
    module: nn.Module
    inputs: Tensor
    outputs: Tensor
    before: Tensor | None  # what they were before anything wrote into them, where they are rows

    @property
    def readings(self) -> tuple[str, ...]:
        """How logits may be read from it."""
        if isinstance(self.module, nn.Linear):
            return ("rows",) if self.outputs.ndim == 2 else ("place", "mean")
        assert isinstance(self.module, Convolution)
        plain = self.module.groups == 1 and set(_numbers(self.module.padding)) == {0}
        if not plain or self.outputs.ndim != self.inputs.ndim or self.outputs.ndim < 3:
            return ()
        if self.inputs.shape[2:] == self.module.kernel_size:
            return ("map",)
        one = {*self.module.kernel_size, *self.module.stride} == {1}
        return ("mean of map",) if one else ()


def _numbers(padding: Any) -> tuple[int, ...]:
    return (int(padding != "valid"),) if isinstance(padding, str) else padding


def _find_head(model: nn.Module, inputs: Any) -> Head:
    """Find how the model comes by its logits, from a pass in which every layer is watched."""
    passes: list[_Pass] = []
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Convolution):

            def record(
                module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor, name: str = name
            ) -> None:
                # Routers of experts, say, are linear layers that answer with something else.
                if arguments and all(isinstance(it, Tensor) for it in (arguments[0], output)):
                    before = output.detach().clone() if output.ndim == 2 else None
                    passes.append(_Pass(name, module, arguments[0], output, before))

            hooks.append(module.register_forward_hook(record))
    try:
        answer = model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    logits = _logits(model, answer)
    classes = logits.shape[1]
    for one in reversed(passes):
        for reading in one.readings:
            head = Head(one.name, reading, classes)
            if _read(reading, one.inputs, one.outputs, logits) and _confirmed(model, head, inputs):
                return head
    return Head(None, classes=classes, reason=_reason(passes, logits))


def _confirmed(model: nn.Module, head: Head, inputs: Any) -> bool:
    """Whether the model answers as the head says whatever the layer's output.

    Where that is zero or positive, what follows may happen to change nothing, and what follows may
    write into it.
    """
    assert head.layer is not None
    generator = torch.Generator().manual_seed(0)
    passes: list[tuple[Tensor, Tensor]] = []

    def replace(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        drawn = torch.randn(output.shape, generator=generator).to(output.device, output.dtype)
        passes.append((arguments[0], drawn.clone()))
        return drawn

    hook = model.get_submodule(head.layer).register_forward_hook(replace)
    try:
        with torch.no_grad():
            answer = model(inputs)
    finally:
        hook.remove()
    answer = getattr(answer, "logits", answer)
    return bool(passes) and _read(head.reading, *passes[-1], answer) is not None


def _logits(model: nn.Module, answer: Any) -> Tensor:
    """Return the logits in a model's answer.

    Raises
    ------
    ParameterError
        If they are none: not one row an example, or probabilities.
    """
    logits = getattr(answer, "logits", answer)
    name = f"train.model: {model._get_name()}"
    if not isinstance(logits, Tensor):
        raise ParameterError(
            f"{name} answers with a {type(logits).__name__}; its answer must be the logits, or an "
            "object that has them as logits"
        )
    if logits.ndim != 2:
        raise ParameterError(
            f"{name} answers with a tensor of shape {tuple(logits.shape)}; it must be logits, one "
            "row an example"
        )
    values = logits.detach().float()
    if logits.shape[1] > 1 and (values >= 0).all() and _nearly(values.sum(1), values.new_ones(1)):
        raise ParameterError(
            f"{name} answers with probabilities, which add up to 1 for each example; let it return "
            "the logits, without the softmax at its end, and apply that where they are read"
        )
    return logits


def _reason(passes: list[_Pass], logits: Tensor) -> str:
    """Say why the logits are no linear layer's output, to follow the model's name."""
    for one in reversed(passes):
        if one.before is None or one.before.shape != logits.shape:
            continue
        factor = _factor(one.before.double(), logits.detach().double())
        if factor is not None:
            return f"multiplies the output of its last linear layer, {one.name}, by {factor:.4g}"
        return f"does not end in its last linear layer: something follows {one.name}"
    return "gives logits that are no linear layer's output"


def _factor(outputs: Tensor, logits: Tensor) -> float | None:
    """Return the number that outputs times it are the logits; None if there is none."""
    square = outputs.square().sum()
    if not square > 0:
        return None
    factor = float((outputs * logits).sum() / square)
    greatest = float(logits.abs().max())
    same = torch.allclose(outputs * factor, logits, rtol=0.0, atol=ROUGH / 100 * greatest)
    return factor if same and factor else None
