"""Prepared data: one layout on disk for every source, mapped into memory, batched on the device.

The layout is that of :mod:`crest.data.files`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from crest.data.augment import Augmentation, normalise, resized_inputs
from crest.data.files import ImageMeta, Meta, TextMeta, damaged, read_meta
from crest.data.opening import check_labels, fits, open_tensor
from crest.data.preprocessing import Preprocessing
from crest.data.ragged import open_split
from crest.data.verifying import Verification
from crest.data.views.batches import ViewBatches
from crest.data.views.crops import size_of_views
from crest.data.views.making import draw_views, make_views
from crest.devices.distributed import local_rank
from crest.devices.transfer import on_device
from crest.errors import ParameterError

NO_AUGMENTATION = Augmentation()

Inputs = Tensor | dict[str, Tensor]


class Split(Protocol):
    """Examples that can be gathered as model inputs; all a method or the loop asks of data."""

    labels: Tensor

    @property
    def lengths(self) -> Tensor | None:
        """What each example costs, such as its tokens, int64 on the CPU; None for the same."""
        ...

    def __len__(self) -> int: ...

    def inputs(self, indices: Tensor) -> Inputs:
        """Model inputs of the examples at ``indices``, on the device, without augmentation."""
        ...

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw how ``count`` examples are augmented; int64, a row each, on the CPU."""
        ...

    def views(self, indices: Tensor, draws: Tensor) -> Inputs:
        """Model inputs as training takes them, augmented as drawn: the same for the same draws."""
        ...


@runtime_checkable
class Expecting(Protocol):
    """A split whose examples take time to make, which it does beforehand if it is told of them."""

    def expect(self, indices: Tensor, draws: Tensor | None) -> None:
        """Begin to make what will be asked for next: inputs, or views where draws are given.

        Whether it is asked for or not, results are the same.
        """
        ...


@runtime_checkable
class Keeping(Protocol):
    """A split whose examples take time to make, which it keeps if they will be asked for again."""

    def keep(self, indices: Tensor, draws: Tensor) -> None:
        """Keep views of these that are asked for from now on, as many as there is room for.

        What was kept before and is not among them is let go. Results are the same.
        """
        ...


class ImageSplit:
    """A split of images, mapped on the CPU or held on the device.

    Parameters
    ----------
    images
        uint8, N×H×W×C.
    labels
        int64, N, on the CPU.
    resized
        Pixels a side that the network takes, None for theirs: random crops are resized to it, and
        whatever else is given on the device.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        augmentation: Augmentation,
        resized: int | None = None,
    ) -> None:
        self.labels = labels
        self.lengths: Tensor | None = None
        self._images = images
        self._mean = mean.to(device)
        self._std = std.to(device)
        self._device = device
        self._augmentation = augmentation
        self._resized = resized
        height, width, channels = images.shape[1:]
        size = size_of_views((height, width), augmentation, resized)
        self._make = partial(make_views, size=size)
        self._batches = ViewBatches((*size, channels))

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> Tensor:
        """float32, k×C×H×W, normalised, channels last in memory."""
        return self._normalised(self._gather(indices))

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw views, see :func:`~crest.data.views.making.draw_views`."""
        return draw_views(count, self._augmentation, generator)

    def views(self, indices: Tensor, draws: Tensor) -> Tensor:
        """As :meth:`inputs`, augmented: see :func:`~crest.data.views.making.make_views`."""
        views = self._batches.make(
            self._make,
            lambda rows: self._gather(indices[rows]),
            draws,
            self._augmentation,
            self._mean,
            self._std,
        )
        return self._resize(views)

    def _normalised(self, images: Tensor) -> Tensor:
        return self._resize(normalise(images, self._mean, self._std))

    def _resize(self, normalised: Tensor) -> Tensor:
        return normalised if self._resized is None else resized_inputs(normalised, self._resized)

    def _gather(self, indices: Tensor) -> Tensor:
        gathered = self._images.index_select(0, on_device(indices, self._images.device))
        return on_device(gathered, self._device)


@dataclass(frozen=True)
class Prepared:
    """Everything ``data/prepared`` holds, ready for training.

    ``preprocessing`` is what images were opened with in place of the data's own statistics.
    """

    meta: Meta
    train: Split
    validation: Split | None
    test: Split
    verification: Verification | None = None
    preprocessing: Preprocessing | None = None

    def require_whole(self, wait: bool = True) -> None:
        """Raise if the arrays are found to be other than when they were written.

        Of data whose check goes on: without ``wait`` only if that is known by now.

        Raises
        ------
        DamagedDataError
            If they are.
        ArtifactError
            If one cannot be read.
        """
        if self.verification is not None:
            self.verification.require_whole(wait)


def load(
    folder: Path,
    device: torch.device,
    augmentation: Augmentation = NO_AUGMENTATION,
    preprocessing: Preprocessing | None = None,
) -> Prepared:
    """Open prepared data.

    Examples stay mapped on the CPU; on another device they are copied there once, as they are on
    disk, when they take less than half of its free memory. All of it is held against its content
    hash: here, or where it is large while the work on it goes on (:mod:`crest.data.verifying`); of
    several processes on a machine one does so.

    Parameters
    ----------
    preprocessing
        Normalises images in place of the data's own statistics; None for those.

    Raises
    ------
    ArtifactError
        If a file is absent, damaged, or disagrees with meta.json.
    ParameterError
        If text is to be augmented, or images have not the channels that are to be normalised.
    """
    meta = read_meta(folder)
    statistics = _statistics(meta, preprocessing)
    side = None if preprocessing is None else preprocessing.resized

    def split(name: str) -> Split:
        if isinstance(meta, ImageMeta) and meta.storage == "encoded":
            from crest.data.encoded import open_encoded  # which needs Pillow

            return open_encoded(folder, name, meta, device, augmentation, statistics, side)
        if isinstance(meta, ImageMeta):
            return _open_images(folder, name, meta, device, augmentation, statistics, side)
        return open_split(folder, name, meta, device)

    if isinstance(meta, TextMeta) and (asked := augmentation.asked):
        raise ParameterError(
            f"{', '.join(asked)}: the prepared data are text; set to {', '.join(asked.values())}"
        )
    validation = split("validation") if meta.sizes.get("validation") else None
    train, test = split("train"), split("test")
    verification = Verification(folder, meta) if local_rank() == 0 else None
    return Prepared(meta, train, validation, test, verification, preprocessing)


def _statistics(meta: Meta, preprocessing: Preprocessing | None) -> tuple[Tensor, Tensor]:
    """Return the means and deviations that images are normalised by."""
    if isinstance(meta, TextMeta):
        return torch.empty(0), torch.empty(0)
    if preprocessing is None:
        return torch.tensor(meta.mean), torch.tensor(meta.std)
    channels, expected = meta.image_shape[2], len(preprocessing.mean)
    if channels not in (1, expected):
        raise ParameterError(
            f"train.weights: {preprocessing.source} is of images of {expected} channels, and the "
            f"prepared ones have {channels}; prepare such images, or set it to random"
        )
    return torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)


def _open_images(
    folder: Path,
    name: str,
    meta: ImageMeta,
    device: torch.device,
    augmentation: Augmentation,
    statistics: tuple[Tensor, Tensor],
    side: int | None,
) -> ImageSplit:
    images, labels = (open_tensor(folder, name, part) for part in ("images", "labels"))
    _agree(folder, name, meta, images, labels)
    if fits(images, device):
        images = images.to(device)
    return ImageSplit(images, labels, *statistics, device, augmentation, side)


def _agree(folder: Path, name: str, meta: ImageMeta, images: Tensor, labels: Tensor) -> None:
    expected = [meta.sizes[name], *meta.image_shape]
    if list(images.shape) != expected or images.dtype != torch.uint8:
        found = f"{images.dtype} {list(images.shape)}, meta.json says {expected} of uint8"
        raise damaged(folder / f"{name}_images.npy", found)
    check_labels(folder, name, labels, meta.sizes[name], len(meta.classes))
