"""Examples that a program has already: a function that returns model inputs, and labels."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from crest.data.prepared import Inputs
from crest.errors import ParameterError

# Returns the model inputs of the examples at the indices it is given (int64, k, on the CPU).
Gather = Callable[[Tensor], Tensor | Mapping[str, Tensor]]


class GivenSplit:
    """A split whose model inputs a function returns; they are moved to the device.

    Parameters
    ----------
    gather
        Returns a tensor, or a mapping of names to tensors, of as many rows as it is given indices.
    labels
        int64, N, on the CPU.
    lengths
        What each example costs, such as its tokens, int64, N, on the CPU; None if all cost alike.
    """

    def __init__(
        self, gather: Gather, labels: Tensor, lengths: Tensor | None, device: torch.device
    ) -> None:
        self.labels = labels
        self.lengths = lengths
        self._gather = gather
        self._device = device

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> Inputs:
        """Return what the function returns, on the device.

        Raises
        ------
        ParameterError
            If it returns anything else than it should.
        """
        # Tensors of inference mode, should the function keep some, could not be trained on.
        with torch.inference_mode(False), torch.no_grad():
            batch = self._gather(indices.clone())
            for rows in batch.values() if isinstance(batch, Mapping) else [batch]:
                _check_rows(rows, len(indices))
            if isinstance(batch, Mapping):
                return {name: rows.to(self._device) for name, rows in batch.items()}
            return batch.to(self._device)

    def augmented(self, indices: Tensor, generator: torch.Generator) -> Inputs:
        """As :meth:`inputs`: who trains in a loop of their own augments there."""
        return self.inputs(indices)


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
        A tensor, an array or a list, one an example.
    name
        Names them in errors.

    Raises
    ------
    ParameterError
        If they are anything else.
    """
    try:
        numbers = torch.as_tensor(values).detach().cpu()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ParameterError(f"{name}: cannot be read as whole numbers ({error})") from None
    kind = numbers.dtype
    if numbers.ndim != 1 or kind.is_floating_point or kind.is_complex or kind == torch.bool:
        raise ParameterError(
            f"{name}: must be whole numbers, one an example, not {kind} of shape "
            f"{tuple(numbers.shape)}"
        )
    if not len(numbers):
        raise ParameterError(f"{name}: there is none; give one for each example")
    if (least := int(numbers.min())) < 0:
        row = int(numbers.argmin())
        raise ParameterError(f"{name}: row {row}: {least} is below 0; number them from 0")
    return numbers.long()
