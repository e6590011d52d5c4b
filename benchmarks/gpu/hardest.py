"""The hardest half of each batch of a loader, by a proxy: what airbench96's faster variant does.

A small network goes forward on every batch of the loader, as it is augmented, and trains on every
fourth; the half with the highest losses is what the large network is given. It wraps a loader that
yields images and labels, and knows nothing of who trains.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from crest.models import build
from crest.samplers.proxy_model import MOMENTUM, WEIGHT_DECAY, one_cycle

MODEL = "resnet8"
RATE = 0.2
INTERVAL = 4
SHARE = 0.5


class HardestHalf:
    """A loader that yields of each batch of another the half that a proxy has most loss on.

    Parameters
    ----------
    loader
        Yields float images, m×C×H×W, and int64 labels, m, on one device.
    epochs
        How many passes will be made, over which the proxy's rate rises and falls.
    """

    def __init__(self, loader: Any, epochs: float) -> None:
        device = loader.images.device
        proxy = build(MODEL, classes=10, image_shape=(32, 32, 3), stem="cifar", seed=0)
        self._loader = loader
        self._proxy = proxy.to(device).to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.SGD(
            self._proxy.parameters(),
            lr=RATE,
            momentum=MOMENTUM,
            nesterov=True,
            weight_decay=WEIGHT_DECAY,
        )
        self._batches = 0
        self._total = epochs * len(loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    @property
    def epoch(self) -> int:
        """Passes begun."""
        return self._loader.epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._loader.epoch = value

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._loader:
            losses = self._losses(images, labels)
            kept = losses.topk(round(SHARE * len(losses))).indices
            yield images[kept], labels[kept]

    def _losses(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the proxy's loss of each; every fourth batch trains it."""
        trains = self._batches % INTERVAL == 0
        self._batches += 1
        with torch.set_grad_enabled(trains), self._autocast(images.device):
            logits = self._proxy(images.float())
            losses = F.cross_entropy(logits.float(), labels, reduction="none")
        if trains:
            for group in self._optimizer.param_groups:
                group["lr"] = RATE * one_cycle(min(1.0, self._batches / self._total))
            self._optimizer.zero_grad(set_to_none=True)
            losses.mean().backward()
            self._optimizer.step()
        return losses.detach()

    @staticmethod
    def _autocast(device: torch.device) -> AbstractContextManager[object]:
        if device.type != "cuda":
            return nullcontext()
        return torch.autocast("cuda", dtype=torch.bfloat16)
