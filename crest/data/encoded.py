"""Encoded images: the files' own bytes, decoded when they are used."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crest.data.ahead import Ahead, Key
from crest.data.augment import Augmentation, normalise, resized_inputs
from crest.data.decoding import Square, decode
from crest.data.files import ImageMeta, damaged, open_array
from crest.data.jpeg import part_of_jpeg, say_what_is_slow, whole_jpeg
from crest.data.opening import check_labels, open_tensor
from crest.data.sources import Pixels
from crest.data.views.batches import ViewBatches
from crest.data.views.crops import crop_boxes, size_of_views
from crest.data.views.making import crop_draws, draw_views, finish_views
from crest.data.views.resizing import resized
from crest.devices.transfer import on_device
from crest.errors import DamagedDataError

AHEAD_BYTES = 2**26  # of images decoded and not used yet
# How much smaller libjpeg can decode a JPEG at a fraction of the cost.
DRAFTS = (8, 4, 2)


class EncodedImages:
    """The images of a split as their files' bytes; each is read from the disk when it is used.

    Parameters
    ----------
    folder, name
        The prepared data, and the split.

    Raises
    ------
    ArtifactError
        If a file is absent, damaged, or disagrees with meta.json; from whatever decodes, if an
        image cannot be.
    """

    def __init__(self, folder: Path, name: str, meta: ImageMeta) -> None:
        self._path = folder / f"{name}_bytes.npy"
        self.shape = (meta.sizes[name], *meta.image_shape)
        content = open_array(folder, name, "bytes")
        self._offsets: Any = open_array(folder, name, "offsets")
        self._shapes: Any = open_array(folder, name, "shapes")
        _agree(folder, name, meta.sizes[name], content, self._offsets, self._shapes)
        self._start = int(content.offset)  # type: ignore[attr-defined]
        height, width = meta.image_shape[:2]
        self._square = Square(height, meta.fit == "squeeze") if height == width else None
        self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the opened file behind, for another process."""
        return {name: value for name, value in vars(self).items() if name != "_file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file there."""
        vars(self).update(state)
        self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if "_file" in vars(self):
            os.close(self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> Pixels:
        """Return an image as models are evaluated on it, uint8, H×W×C: what pixels would hold."""
        try:
            content = self.content(index)
            whole = whole_jpeg(content) if self._shapes[index, 2] else None
            return decode(bytes(content) if whole is None else whole, self._square).pixels
        except ValueError as error:
            raise self._broken(index, error) from None

    def content(self, index: int) -> bytearray:
        """Return the bytes of an image."""
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        content = bytearray(end - start)
        # Not mapped: the pages of all images that were ever used would count as memory.
        if os.preadv(self._file, [content], self._start + start) != len(content):
            raise DamagedDataError(
                f"{self._path}: it ends before image {index}; run `python cli.py prepare` again"
            )
        return content

    def sizes(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Heights and widths of whole images, upright; int64, k each."""
        found = torch.from_numpy(self._shapes[indices.numpy()].astype(np.int64))
        return found[:, 0], found[:, 1]

    def cropped(self, index: int, box: Sequence[int], size: tuple[int, int]) -> Tensor:
        """Return a box of the whole image, resized: uint8, H×W×C.

        ``box`` is top, left, height and width in pixels of the upright image, ``size`` rows and
        columns. Of a JPEG from which more than twice the pixels would be thrown away as many fewer
        are decoded.
        """
        try:
            return self._cropped(self.content(index), index, box, size)
        except (ValueError, RuntimeError, OSError, SyntaxError) as error:
            raise self._broken(index, error) from None

    def _cropped(
        self, content: bytearray, index: int, box: Sequence[int], size: tuple[int, int]
    ) -> Tensor:
        height, width = size
        if self._shapes[index, 2]:
            draft = next((by for by in DRAFTS if box[2] >= by * height and box[3] >= by * width), 1)
            part = part_of_jpeg(content, box, draft)
        else:
            top, left, rows, columns = box
            part = decode(bytes(content)).pixels[top : top + rows, left : left + columns]
            part = part.copy()  # which may be written to, as tensors may
        return resized(torch.from_numpy(part), size)

    def _broken(self, index: int, error: Exception) -> DamagedDataError:
        return DamagedDataError(
            f"{self._path}: image {index} cannot be decoded ({error}), as it could when it was "
            "prepared; run `python cli.py prepare` again"
        )


class EncodedSplit:
    """A split of images that are decoded when they are used, in threads and ahead.

    Evaluation sees the images as pixel storage would hold them, to the bit. Training crops the
    whole images where ``augmentation`` says so, and what evaluation sees where it does not.

    Parameters
    ----------
    labels
        int64, N, on the CPU.
    workers
        Threads; None for one a core. No result depends on it.
    side
        Pixels a side that the network takes: crops are resized to it, and what evaluation sees
        once it is decoded; None for the images' own.
    """

    def __init__(
        self,
        images: EncodedImages,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        augmentation: Augmentation,
        workers: int | None = None,
        side: int | None = None,
    ) -> None:
        self.labels = labels
        self.lengths: Tensor | None = None
        self._images = images
        self._mean = mean.to(device)
        self._std = std.to(device)
        self._device = device
        self._augmentation = augmentation
        self._side = side
        most = max(32, AHEAD_BYTES // int(np.prod(images.shape[1:])))
        self._ahead = Ahead(self._decode, most, workers)
        _, height, width, channels = images.shape
        self._size = size_of_views((height, width), augmentation, side)
        self._batches = ViewBatches((*self._size, channels))

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> Tensor:
        """float32, k×C×H×W, normalised, channels last in memory."""
        decoded = self._ahead.take(self._keys(indices, None))
        images = on_device(self._stacked(decoded), self._device)
        return self._resize(normalise(images, self._mean, self._std))

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw views, see :func:`~crest.data.views.making.draw_views`."""
        return draw_views(count, self._augmentation, generator)

    def views(self, indices: Tensor, draws: Tensor) -> Tensor:
        """As :meth:`inputs`, augmented: :meth:`pixels`, and then what :meth:`finish` does."""
        decoded = self._ahead.take(self._keys(indices, draws))
        return self._finished(lambda rows: self._stacked(decoded[rows]), draws)

    def pixels(self, indices: Tensor, draws: Tensor) -> Tensor:
        """Decoded images, cropped where views are; uint8, k×H×W×C, on the CPU.

        What a worker process of a DataLoader does, for :meth:`finish` where the network is.
        """
        return self._stacked(self._ahead.take(self._keys(indices, draws)))

    def finish(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Make views of what :meth:`pixels` returned, by the same draws."""
        return self._finished(lambda rows: pixels[rows], draws)

    def _finished(self, images: Callable[[slice], Tensor], draws: Tensor) -> Tensor:
        views = self._batches.make(
            finish_views,
            lambda rows: on_device(images(rows), self._device),
            draws,
            self._augmentation,
            self._mean,
            self._std,
        )
        return self._resize(views)

    def expect(self, indices: Tensor, draws: Tensor | None) -> None:
        """Begin to decode what will be asked for next: inputs, or views where draws are given."""
        self._ahead.expect(self._keys(indices, draws))

    def keep(self, indices: Tensor, draws: Tensor) -> None:
        """Keep the decoded images of views that will be asked for again, and no others."""
        self._ahead.keep(self._keys(indices, draws))

    def _keys(self, indices: Tensor, draws: Tensor | None) -> list[Key]:
        """Return what is to be decoded."""
        if draws is None or self._augmentation.scale is None:
            return [(index,) for index in indices.tolist()]
        heights, widths = self._images.sizes(indices)
        drawn = crop_draws(draws, self._augmentation)
        boxes = crop_boxes(drawn, heights, widths, self._augmentation)
        return [*zip(indices.tolist(), *boxes.T.tolist(), strict=True)]

    def _decode(self, key: Key) -> Tensor:
        if len(key) == 1:
            return torch.tensor(self._images[key[0]])
        return self._images.cropped(key[0], key[1:], self._size)

    def _resize(self, normalised: Tensor) -> Tensor:
        return normalised if self._side is None else resized_inputs(normalised, self._side)

    def _stacked(self, decoded: list[Tensor]) -> Tensor:
        """Return images as a batch; uint8, k×H×W×C."""
        if not decoded:
            return torch.empty(0, *self._size, self._images.shape[3], dtype=torch.uint8)
        return torch.stack(decoded)


def open_encoded(
    folder: Path,
    name: str,
    meta: ImageMeta,
    device: torch.device,
    augmentation: Augmentation,
    statistics: tuple[Tensor, Tensor],
    side: int | None,
) -> EncodedSplit:
    """Open a split of encoded images, to be normalised by means and deviations.

    Raises
    ------
    ArtifactError
        If a file is absent, damaged, or disagrees with meta.json.
    """
    labels = open_tensor(folder, name, "labels")
    check_labels(folder, name, labels, meta.sizes[name], len(meta.classes))
    images = EncodedImages(folder, name, meta)
    if augmentation.scale is not None and name == "train":
        say_what_is_slow()
    return EncodedSplit(images, labels, *statistics, device, augmentation, side=side)


def _agree(folder: Path, name: str, size: int, content: Any, offsets: Any, shapes: Any) -> None:
    """Refuse arrays that do not fit together."""
    expected = {
        "bytes": (content, np.uint8, (content.size,)),
        "offsets": (offsets, np.int64, (size + 1,)),
        "shapes": (shapes, np.int32, (size, 3)),
    }
    for part, (array, dtype, shape) in expected.items():
        if array.dtype != dtype or array.shape != shape:
            raise damaged(
                folder / f"{name}_{part}.npy",
                f"{array.dtype} {list(array.shape)}, meta.json says {list(shape)} of "
                f"{np.dtype(dtype)}",
            )
    ends = (int(offsets[0]), int(offsets[-1])) == (0, len(content))
    if not ends or bool((np.diff(offsets) < 1).any()):
        raise damaged(folder / f"{name}_offsets.npy", "not where images begin")
    if bool((shapes[:, :2] < 1).any()):
        raise damaged(folder / f"{name}_shapes.npy", "images without pixels")
