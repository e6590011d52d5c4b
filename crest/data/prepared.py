"""Prepared data: one layout on disk for every source, mapped into memory, batched on the device.

A folder holds, for each split (``train``, ``validation``, ``test``; validation may be absent),
``SPLIT_images.npy`` (uint8, N×H×W×C) and ``SPLIT_labels.npy`` (int64, N), and ``meta.json``, the
:class:`Meta` of the data.
"""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from crest.data.augment import Augmentation, crop_and_flip, normalise
from crest.errors import ArtifactError

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")
NO_AUGMENTATION = Augmentation()


@dataclass(frozen=True)
class Meta:
    """What prepared data is and where it came from; meta.json holds exactly these fields.

    ``mean`` and ``std`` are per channel, of the training split, on the scale 0 to 1;
    ``content_hash`` is a SHA-256 over all arrays in the order of their names.
    """

    schema_version: int
    kind: str
    dataset: str
    source: str
    sizes: dict[str, int]
    classes: list[str]
    image_shape: list[int]
    mean: list[float]
    std: list[float]
    content_hash: str


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


def read_meta(folder: Path) -> Meta:
    """Read meta.json; raises :class:`ArtifactError` if it is absent, damaged or another version."""
    path = folder / "meta.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: no prepared data here; run `python cli.py prepare` first"
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(values, dict):
        raise _damaged(path, "it holds no JSON object")
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: schema version {version}, this code reads {SCHEMA_VERSION}; "
            "run `python cli.py prepare` again"
        )
    names = {field.name for field in fields(Meta)}
    if values.keys() != names:
        raise _damaged(path, f"lacking or not known: {', '.join(sorted(values.keys() ^ names))}")
    meta = Meta(**values)
    if not _is_whole(meta):
        raise _damaged(path, "its fields contradict each other")
    return meta


def _damaged(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{path}: damaged ({reason}); run `python cli.py prepare` again")


def _is_whole(meta: Meta) -> bool:
    """Whether splits, classes, shape and channels are all there and agree."""
    try:
        height, width, channels = meta.image_shape
        known = meta.sizes.keys() <= set(SPLITS)
        numbers = [height, width, channels, *(meta.sizes[name] for name in ("train", "test"))]
        numbers += meta.sizes.values()
        usable = all(map(math.isfinite, (*meta.mean, *meta.std))) and min(meta.std) > 0
    except (TypeError, ValueError, KeyError, AttributeError):
        return False
    positive = all(isinstance(number, int) and number > 0 for number in numbers)
    named = isinstance(meta.classes, list) and len(meta.classes) > 1
    return known and positive and named and usable and len(meta.mean) == len(meta.std) == channels


def write_meta(folder: Path, meta: Meta) -> None:
    """Write meta.json."""
    text = json.dumps(asdict(meta), indent=2, ensure_ascii=False)
    (folder / "meta.json").write_text(text + "\n", encoding="utf-8")


def open_array(folder: Path, split: str, name: str) -> np.ndarray[Any, Any]:
    """Map ``SPLIT_NAME.npy`` without loading it; copy-on-write, so that torch may wrap it."""
    path = folder / f"{split}_{name}.npy"
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run `python cli.py prepare` again") from None
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from None


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
        raise _damaged(folder / f"{name}_images.npy", found)
    if list(labels.shape) != expected[:1] or labels.dtype != torch.int64:
        found = f"{labels.dtype} {list(labels.shape)}, meta.json says {expected[:1]} of int64"
        raise _damaged(folder / f"{name}_labels.npy", found)
    if labels.min() < 0 or labels.max() >= len(meta.classes):
        raise _damaged(folder / f"{name}_labels.npy", f"labels outside {len(meta.classes)} classes")


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes < free / 2
