"""What a step moves beside the weights: the model's buffers, and generators."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crest.devices.generators import global_generators, set_global_generators


class Buffers:
    """The buffers of a model, which every part of a mini-batch moves from where the step began.

    ``total`` is the float64 sum of what the parts made of the floating-point ones, flat.
    """

    def __init__(self, model: nn.Module) -> None:
        everything = list(model.buffers())
        self._moving = [buffer for buffer in everything if buffer.is_floating_point()]
        self._by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for buffer in everything:
            self._by_dtype.setdefault(buffer.dtype, []).append(buffer)
        self._start: list[Tensor] = []
        self.total = torch.empty(0)

    def copies(self) -> list[Tensor]:
        """Return what they hold, flat; those of a type together, as a GPU copies them at once."""
        return [
            torch.cat([buffer.flatten() for buffer in of_dtype])
            for of_dtype in self._by_dtype.values()
        ]

    def put(self, values: Sequence[Tensor]) -> None:
        """Have them hold what :meth:`copies` returned."""
        for of_dtype, flat in zip(self._by_dtype.values(), values, strict=True):
            parts = flat.split([buffer.numel() for buffer in of_dtype])
            for buffer, part in zip(of_dtype, parts, strict=True):
                buffer.copy_(part.view_as(buffer))

    def begin(self) -> None:
        """Note where the step begins."""
        self._start = self.copies()
        self.total = torch.zeros_like(self._flat())

    def rewind(self) -> None:
        """Go back there."""
        self.put(self._start)

    def include(self) -> None:
        """Add what a part has made of them."""
        self.total += self._flat()

    def finish(self, total: Tensor, parts: int) -> None:
        """Take the mean of all parts."""
        place = 0
        for buffer in self._moving:
            mean = total[place : place + buffer.numel()] / parts
            buffer.copy_(mean.view_as(buffer))
            place += buffer.numel()

    def _flat(self) -> Tensor:
        flat = [buffer.double().flatten() for buffer in self._moving]
        return torch.cat(flat) if flat else torch.empty(0, dtype=torch.float64)


class Begun:
    """Where a step begins: the buffers and the generators that it moves."""

    def __init__(
        self, buffers: Buffers, augmentation: torch.Generator, device: torch.device
    ) -> None:
        self._buffers = buffers
        self._augmentation = augmentation
        self._device = device
        self._kept = buffers.copies()
        self._drawn = augmentation.get_state()
        self._dropout = global_generators(device)

    def restore(self) -> None:
        """Go back there."""
        self._buffers.put(self._kept)
        self._augmentation.set_state(self._drawn)
        set_global_generators(self._device, self._dropout)
