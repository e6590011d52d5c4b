"""Prepared data: one layout on disk for every source, mapped into memory, batched on the device.

The layout is that of :mod:`crest.data.files`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from crest.data.augment import Augmentation, crop_and_flip, normalise
from crest.data.files import Meta, damaged, open_array, read_meta

NO_AUGMENTATION = Augmentation()


class Split(Protocol):
    """Examples that can be gathered as model inputs; all a method or the loop asks of data."""

    labels: Tensor

    def __len__(self) -> int: ...

    def inputs(self, indices: Tensor) -> Tensor:
        """Model inputs of the examples at ``indices``, on the device, without augmentation."""
        ...

    def augmented(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Model inputs as training takes them, augmentation drawn from ``generator``."""
        ...


class ImageSplit:
    """A split of images, mapped on the CPU or held on the device.

    Parameters
    ----------
    images
        uint8, N×H×W×C.
    labels
        int64, N, on the CPU.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        augmentation: Augmentation,
    ) -> None:
        self.labels = labels
        self._images = images
        self._mean = mean.to(device)
        self._std = std.to(device)
        self._device = device
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> Tensor:
        """float32, k×C×H×W, normalised, channels last in memory."""
        return normalise(self._gather(indices), self._mean, self._std)

    def augmented(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """As :meth:`inputs`, after random crops and flips."""
        images = crop_and_flip(self._gather(indices), self._augmentation, generator)
        return normalise(images, self._mean, self._std)

    def _gather(self, indices: Tensor) -> Tensor:
        gathered = self._images.index_select(0, indices.to(self._images.device))
        return gathered.to(self._device, non_blocking=True)


@dataclass(frozen=True)
class Prepared:
    """Everything ``data/prepared`` holds, ready for training."""

    meta: Meta
    train: ImageSplit
    validation: ImageSplit | None
    test: ImageSplit


def load(
    folder: Path, device: torch.device, augmentation: Augmentation = NO_AUGMENTATION
) -> Prepared:
    """Open prepared data.

    Images stay mapped on the CPU; on another device they are copied there once, as uint8, when
    they take less than half of its free memory.

    Raises
    ------
    ArtifactError
        If a file is absent, damaged, or disagrees with meta.json.
    """
    meta = read_meta(folder)
    mean, std = torch.tensor(meta.mean), torch.tensor(meta.std)

    def split(name: str) -> ImageSplit:
        images = torch.from_numpy(open_array(folder, name, "images"))
        labels = torch.from_numpy(np.array(open_array(folder, name, "labels")))
        _agree(folder, name, meta, images, labels)
        if _fits(images, device):
            images = images.to(device)
        return ImageSplit(images, labels, mean, std, device, augmentation)

    validation = split("validation") if meta.sizes.get("validation") else None
    return Prepared(meta, split("train"), validation, split("test"))


def _agree(folder: Path, name: str, meta: Meta, images: Tensor, labels: Tensor) -> None:
    expected = [meta.sizes[name], *meta.image_shape]
    if list(images.shape) != expected or images.dtype != torch.uint8:
        found = f"{images.dtype} {list(images.shape)}, meta.json says {expected} of uint8"
        raise damaged(folder / f"{name}_images.npy", found)
    if list(labels.shape) != expected[:1] or labels.dtype != torch.int64:
        found = f"{labels.dtype} {list(labels.shape)}, meta.json says {expected[:1]} of int64"
        raise damaged(folder / f"{name}_labels.npy", found)
    if labels.min() < 0 or labels.max() >= len(meta.classes):
        raise damaged(folder / f"{name}_labels.npy", f"labels outside {len(meta.classes)} classes")


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes < free / 2
