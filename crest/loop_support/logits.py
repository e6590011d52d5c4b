"""The logits in what somebody's loop passes of a mini-batch."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crest.errors import ParameterError

# From so many rows on, whose numbers all sum to 1, it is no chance that they do.
PROBABLE = 4


def logits_of(output: Any, examples: int, classes: int) -> Tensor:
    """Return the logits in a model's output, m×C and detached.

    Parameters
    ----------
    output
        A tensor or array; an object or mapping with ``logits``; or a tuple, list or mapping that
        holds one tensor of this shape.
    examples, classes
        m and C.

    Raises
    ------
    ParameterError
        If there is no one tensor of that shape, or it is of whole numbers.
    """
    found = output.logits if _is_tensor(getattr(output, "logits", None)) else output
    if isinstance(found, Mapping) and _is_tensor(found.get("logits")):
        found = found["logits"]
    if isinstance(found, Mapping | list | tuple):
        parts = list(found.values()) if isinstance(found, Mapping) else list(found)
        fitting = [part for part in parts if _is_tensor(part) and part.shape == (examples, classes)]
        if len(fitting) != 1:
            raise ParameterError(
                f"step: a {type(output).__name__} of {_kinds(parts)}; pass the logits alone, "
                f"{examples}×{classes}"
            )
        found = fitting[0]
    if not _is_tensor(found):
        raise ParameterError(
            f"step: a {type(output).__name__}; pass the logits, a tensor of {examples}×{classes}"
        )
    logits = torch.tensor(found) if isinstance(found, np.ndarray) else found.detach()
    _check_shape(logits, examples, classes)
    if not logits.is_floating_point():
        raise ParameterError(
            f"step: {logits.dtype}; pass the logits themselves, not what follows from them"
        )
    return logits


def is_finite(values: Tensor) -> bool:
    """Whether all of some numbers are finite, as far as their sum is."""
    return math.isfinite(float(values.sum(dtype=torch.float64)))


def refuse_probabilities(logits: Tensor) -> None:
    """Refuse rows that all sum to 1, as after softmax.

    Raises
    ------
    ParameterError
        If all do.
    """
    if len(logits) < PROBABLE or logits.shape[1] < 2:
        return
    sums = logits.double().sum(1)
    rounding = max(torch.finfo(kind).eps for kind in (logits.dtype, torch.float32))
    near = 4 * logits.shape[1] * rounding
    if bool((logits >= 0).all()) and bool(((sums - 1).abs() <= near).all()):
        raise ParameterError(
            "step: every row sums to 1, as probabilities do; pass the logits, before softmax"
        )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    )


def _kinds(parts: list[Any]) -> str:
    return ", ".join(_kind(part) for part in parts[:4]) + (" …" if len(parts) > 4 else "")


def _kind(part: Any) -> str:
    if _is_tensor(part):
        return "×".join(map(str, part.shape)) if part.ndim else "a number"
    return f"a {type(part).__name__}"


def _check_shape(logits: Tensor, examples: int, classes: int) -> None:
    """Refuse logits of another shape, and say what they seem to be."""
    shape = tuple(logits.shape)
    if shape == (examples, classes):
        return
    hint = next(_hints(shape, examples, classes), "")
    found = "×".join(map(str, shape)) if shape else "a single number"
    raise ParameterError(
        f"step: {found}; pass the logits of the mini-batch, {examples}×{classes}{hint}"
    )


def _hints(shape: tuple[int, ...], examples: int, classes: int) -> Iterator[str]:
    if shape in [(), (examples,), (1,)]:
        yield ", not its loss"
    if len(shape) == 2 and shape[1] == classes:
        yield ": of one that was taken in parts, torch.cat of all parts"
    if len(shape) == 2 and shape[0] == examples:
        yield f": the model has {classes} classes"
