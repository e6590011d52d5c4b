"""Features of examples in place of their images, as a frozen backbone makes them once."""

import torch
from torch import Tensor

from crest.data.augment import nothing_drawn
from crest.data.opening import fits
from crest.devices.transfer import on_device


class FeatureSplit:
    """A split of features, mapped on the CPU or held on the device; they are not augmented.

    Parameters
    ----------
    features
        n×d, of any floating type.
    labels
        int64, n, on the CPU.
    """

    def __init__(self, features: Tensor, labels: Tensor, device: torch.device) -> None:
        self.labels = labels
        self.lengths: Tensor | None = None
        self._features = features.to(device) if fits(features, device) else features
        self._device = device

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> Tensor:
        """float32, k×d."""
        gathered = self._features.index_select(0, on_device(indices, self._features.device))
        return on_device(gathered, self._device).float()

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw nothing."""
        return nothing_drawn(count)

    def views(self, indices: Tensor, draws: Tensor) -> Tensor:
        """As :meth:`inputs`."""
        return self.inputs(indices)
