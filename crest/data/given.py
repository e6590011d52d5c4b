"""Examples that a program has already: a function that returns model inputs, and labels."""

import math
from collections.abc import Callable, Iterable, Mapping, Set
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crest.data.augment import nothing_drawn
from crest.data.prepared import Inputs
from crest.errors import ParameterError

# Returns the model inputs of the examples at the indices it is given (int64, k, on the CPU).
Gather = Callable[[Tensor], Tensor | Mapping[str, Tensor]]

AT_ONCE = 250  # examples whose inputs are searched at once


class GivenSplit:
    """A split whose model inputs a function returns; they are moved to the device.

    Parameters
    ----------
    gather
        Returns a tensor, or a mapping of names to tensors, of as many rows as it is given indices.
    labels
        int64, N, on the CPU.
    lengths
        What each example costs, such as its tokens, int64, N, on the CPU; None for the same.
    """

    def __init__(
        self, gather: Gather, labels: Tensor, lengths: Tensor | None, device: torch.device
    ) -> None:
        self.labels = labels
        self.lengths = lengths
        self._gather = gather
        self._device = device
        self._asked: list[Tensor] = []  # indices since the last forget()

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> Inputs:
        """Return what the function returns, on the device.

        Raises
        ------
        ParameterError
            If it returns anything else than it should.
        """
        self._asked.append(indices)
        # Tensors of inference mode, should the function keep some, could not be trained on.
        with torch.inference_mode(False), torch.no_grad():
            batch = self._gather(indices.clone())
            for rows in batch.values() if isinstance(batch, Mapping) else [batch]:
                _check_rows(rows, len(indices))
            if isinstance(batch, Mapping):
                return {name: rows.to(self._device) for name, rows in batch.items()}
            return batch.to(self._device)

    def forget(self) -> None:
        """Begin anew to keep in mind which examples are asked for."""
        self._asked = []

    def refuse_not_finite(self, indices: Tensor | None = None) -> None:
        """Look for numbers that are not finite in inputs; of those asked for, if not given.

        Raises
        ------
        ParameterError
            If there are some; the message names the examples.
        """
        wanted = torch.cat(self._asked).unique() if indices is None else indices
        broken = [
            int(some[row])
            for some in wanted.split(AT_ONCE)
            for row in _not_finite(self.inputs(some), len(some)).tolist()
        ]
        if broken:
            listed = ", ".join(str(index) for index in sorted(broken)[:5])
            more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
            raise ParameterError(
                f"inputs: what is returned for example {listed}{more} holds numbers that are not "
                "finite; mend such examples or leave them out"
            )

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw nothing."""
        return nothing_drawn(count)

    def views(self, indices: Tensor, draws: Tensor) -> Inputs:
        """As :meth:`inputs`: who trains in a loop of their own augments there."""
        return self.inputs(indices)


def _not_finite(inputs: Inputs, count: int) -> Tensor:
    """Return the rows that hold a number that is not finite; int64."""
    broken = torch.zeros(count, dtype=torch.bool)
    for rows in inputs.values() if isinstance(inputs, Mapping) else [inputs]:
        if rows.is_floating_point() or rows.is_complex():
            broken |= ~rows.reshape(count, -1).isfinite().all(1).cpu()
    return broken.nonzero().flatten()


def _check_rows(rows: Any, count: int) -> None:
    if not isinstance(rows, Tensor):
        raise ParameterError(
            f"inputs: returned a {type(rows).__name__}; it must return a tensor, or a mapping of "
            "names to tensors"
        )
    if rows.shape[:1] != (count,):
        raise ParameterError(
            f"inputs: returned a tensor of shape {tuple(rows.shape)} for {count} indices; its "
            "first dimension must be those examples, in their order"
        )


def integers(values: Any, name: str) -> Tensor:
    """Return whole numbers from 0 up, such as labels, as int64 on the CPU.

    Parameters
    ----------
    values
        A tensor, an array, a series or a list, one an example, of integers of any width.
    name
        Names them in errors.

    Raises
    ------
    ParameterError
        If they are anything else; the message names the first row that is.
    """
    numbers = _of_tensor(values, name) if isinstance(values, Tensor) else _of_others(values, name)
    if not len(numbers):
        raise ParameterError(f"{name}: there is none; give one for each example")
    if (least := int(numbers.min())) < 0:
        row = int(numbers.argmin())
        marks = "" if least not in MARKS else f"; leave examples marked {least} out, or"
        raise ParameterError(
            f"{name}: row {row}: {least} is below 0{marks or ';'} number them from 0"
        )
    return numbers


def whole_number(value: Any, name: str, least: int) -> int:
    """Return a whole number from ``least`` up, of Python or NumPy, as Python's.

    Raises
    ------
    ParameterError
        If it is anything else, or more than a seed may be, 2⁶³ - 1.
    """
    if not _is_whole(value) and type(value) is not int:
        raise ParameterError(f"{name}: must be a whole number from {least} up, not {value!r:.60}")
    if not least <= (number := int(value)) <= LARGEST:
        raise ParameterError(f"{name}: {number} is not from {least} to {LARGEST}")
    return number


# What data without a label carry in its place.
MARKS = (-1, -100)
MASKED = np.ma.masked
LARGEST = 2**63 - 1  # of int64
NAMES = "number them from 0, such as by numpy.unique({name}, return_inverse=True)[1]"
CONVERT = "convert them to integers, such as by {name}.long() or {name}.astype(int)"


def _of_tensor(values: Tensor, name: str) -> Tensor:
    """Return a tensor of whole numbers as int64."""
    kind = values.dtype
    if values.layout != torch.strided or values.is_quantized or values.is_meta:
        raise _not_whole(f"a {kind} tensor without plain numbers", name)
    known = values.detach().cpu()
    if kind.is_floating_point or kind.is_complex or kind == torch.bool or known.ndim != 1:
        raise _misshapen(str(kind), known, name)
    if kind == torch.uint64:
        return _of_others(known.numpy(), name)
    return known.long()


def _of_others(values: Any, name: str) -> Tensor:
    """Return whole numbers in anything that holds one after another, as int64."""
    if isinstance(values, np.ma.MaskedArray) and (hidden := np.ma.getmaskarray(values)).any():
        raise _row(int(hidden.argmax()), MASKED, name)
    array = _as_array(values) if hasattr(values, "__array__") else None
    if array is not None:
        if array.dtype.kind == "V":
            raise _not_whole(f"{array.dtype} of shape {array.shape}", name)
        if array.ndim != 1 or array.dtype.kind in "bfcmM":
            raise _misshapen(str(array.dtype), array, name)
        if array.dtype.kind == "u" and len(array) and (largest := int(array.max())) > LARGEST:
            raise _too_large(int(array.argmax()), largest, name)
        if array.dtype.kind in "iu":
            return torch.from_numpy(array.astype(np.int64))  # a copy, writable and in order
    if isinstance(values, str | bytes | Mapping | Set) or not hasattr(values, "__len__"):
        raise _not_whole(f"a {type(values).__name__}", name)
    return _of_objects(values if array is None else array.tolist(), name)


def _as_array(values: Any) -> NDArray[Any] | None:
    """Return an array of what says that it can be one, None if it is wrong there."""
    try:
        return np.asarray(values)
    except Exception:  # Polars', pandas' and whoever else's
        return None


def _of_objects(values: Iterable[Any], name: str) -> Tensor:
    """Return Python's integers, NumPy's and tensors of one as int64."""
    found = []
    for row, value in enumerate(values):
        if type(value) is int:
            number = value
        elif _is_whole(value):
            number = int(value)
        else:
            raise _row(row, value, name)
        if number > LARGEST:
            raise _too_large(row, number, name)
        if number < -LARGEST:
            raise ParameterError(f"{name}: row {row}: {number} is below 0; number them from 0")
        found.append(number)
    return torch.tensor(found, dtype=torch.int64)


def _is_whole(value: Any) -> bool:
    """Whether an object, not of Python's own int, is one whole number."""
    if isinstance(value, Tensor | np.ndarray):
        kinds = (value.dtype.kind in "iu") if isinstance(value, np.ndarray) else _integral(value)
        return kinds and value.ndim == 0
    return isinstance(value, Integral) and not isinstance(value, bool)


def _integral(value: Tensor) -> bool:
    kind = value.dtype
    return not (kind.is_floating_point or kind.is_complex or kind == torch.bool)


def _misshapen(kind: str, values: Tensor | NDArray[Any], name: str) -> ParameterError:
    """Return the error of numbers that are not whole, or not one an example."""
    shape = tuple(values.shape)
    if len(shape) == 1 and shape[0]:
        row = _first_broken(values)
        return _row(row, values[row].item(), name)
    advice = "; of rows with one 1 each take .argmax(1)" if len(shape) == 2 and shape[1] > 1 else ""
    advice = f"; take {name}[:, 0]" if len(shape) == 2 and shape[1] == 1 else advice
    return _not_whole(f"{kind} of shape {shape}{advice}", name)


def _first_broken(values: Tensor | NDArray[Any]) -> int:
    """Return the first row that is no whole number even in value; the first of all if all are."""
    array = (
        values.double().numpy()
        if isinstance(values, Tensor) and not values.is_complex()
        else values
    )
    if isinstance(array, Tensor) or array.dtype.kind not in "f":
        return 0
    with np.errstate(invalid="ignore"):
        broken = array != np.floor(array)
    return int((broken | ~np.isfinite(array)).argmax())


def _row(row: int, value: Any, name: str) -> ParameterError:
    """Return the error of a row that is no integer."""
    missing = value is None or value is MASKED or type(value).__name__ in ("NAType", "NaTType")
    if missing or (isinstance(value, float) and math.isnan(value)):
        advice = "leave such examples out"
    else:
        advice = CONVERT if isinstance(value, int | float | np.bool_) else NAMES
    return ParameterError(
        f"{name}: row {row}: {value!r:.60} is no integer; {advice.format(name=name)}"
    )


def _not_whole(what: str, name: str) -> ParameterError:
    return ParameterError(f"{name}: must be whole numbers, one an example, not {what}")


def _too_large(row: int, value: int, name: str) -> ParameterError:
    return ParameterError(
        f"{name}: row {row}: {value} is above {LARGEST}, the largest integer; number them from 0"
    )
