"""Augmentation and normalisation of whole batches of images, on the device they lie on."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from crest.devices.transfer import on_device

# Pixels from which an image on the CPU is cropped and flipped by itself: a gather of all is quicker
# for small ones only.
LARGE = 64 * 64
# Numbers of a batch that are normalised at a time.
CACHED = 2**19


@dataclass(frozen=True)
class Augmentation:
    """How images are augmented; nothing by default.

    Attributes
    ----------
    crop
        Pixels of zero padding before a random crop.
    flip
        Random horizontal flips, or ``alternating``: random at first, then every other time.
    scale
        Least and greatest share of an image's area in a random crop, which is resized.
    policy
        ``trivialaugment`` or ``randaugment``, on whole pixels.
    policy_operations, policy_magnitude
        Of randaugment: how many an image goes through, and their magnitude, from 0 to 30.
    color, hue
        By how much brightness, contrast and saturation differ from 1 at most, and the greatest turn
        of hues, a share of the circle.
    erasing
        Chance that a rectangle is erased.
    """

    crop: int = 0
    flip: bool | Literal["alternating"] = False
    scale: tuple[float, float] | None = None
    policy: Literal["trivialaugment", "randaugment"] | None = None
    policy_operations: int = 2
    policy_magnitude: int = 9
    color: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0

    @property
    def asked(self) -> dict[str, str]:
        """What is asked for: the parameter of each field, and what turns it off."""
        off = {"crop": "0", "flip": "false", "scale": "null", "policy": "null"}
        off |= {"color": "0.0", "hue": "0.0", "erasing": "0.0"}
        plain = Augmentation()
        return {
            f"train.augment_{name}": value
            for name, value in off.items()
            if getattr(self, name) != getattr(plain, name)
        }

    @property
    def changes_colors(self) -> bool:
        """Whether colours change, so that images need one channel or three."""
        return self.policy is not None or self.color > 0.0 or self.hue > 0.0


def draw_crops_and_flips(
    count: int, augmentation: Augmentation, generator: torch.Generator
) -> Tensor:
    """Draw whether each of ``count`` images is flipped, and where it is cropped.

    Parameters
    ----------
    generator
        A CPU generator, so that every device draws the same.

    Returns
    -------
    Tensor
        int64, count×3: whether it is flipped, the first row and the first column of the crop;
        count×0 where there is nothing to draw.
    """
    padding = augmentation.crop
    if padding == 0 and not augmentation.flip:
        return nothing_drawn(count)
    draws = torch.zeros(count, 3, dtype=torch.int64)
    if augmentation.flip:
        draws[:, :1] = torch.randint(2, (count, 1), generator=generator, dtype=torch.bool)
    if padding:
        draws[:, 1:] = torch.randint(2 * padding + 1, (count, 2), generator=generator)
    return draws


def nothing_drawn(count: int) -> Tensor:
    """Return the draws of ``count`` examples that are not augmented; int64, count×0."""
    return torch.empty(count, 0, dtype=torch.int64)


def crop_and_flip(images: Tensor, augmentation: Augmentation, draws: Tensor) -> Tensor:
    """Crop and flip each image of a batch on its own, in one gather.

    Parameters
    ----------
    images
        uint8, k×H×W×C.
    draws
        k rows of :func:`draw_crops_and_flips`, on the CPU.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    padding = augmentation.crop
    if padding == 0 and not augmentation.flip:
        return images
    count, height, width, channels = images.shape
    if images.device.type == "cpu" and height * width >= LARGE:
        return _one_by_one(images, padding, draws)
    columns = torch.arange(width).expand(count, width)
    columns = torch.where(draws[:, :1].bool(), columns.flip(1), columns) + draws[:, 2:]
    rows = torch.arange(height) + draws[:, 1:2]
    if padding:
        images = F.pad(images, (0, 0, padding, padding, padding, padding))
    # Choosing whole pixels from one long list is several times faster than indexing four axes.
    padded_height, padded_width = height + 2 * padding, width + 2 * padding
    starts = padded_height * torch.arange(count, device=images.device)[:, None]
    rows, columns = on_device(rows, images.device) + starts, on_device(columns, images.device)
    pixels = rows[:, :, None] * padded_width + columns[:, None, :]
    chosen = images.reshape(-1, channels).index_select(0, pixels.reshape(-1))
    return chosen.view(count, height, width, channels)


def _one_by_one(images: Tensor, padding: int, draws: Tensor) -> Tensor:
    """Crop and flip images, which is slices and copies."""
    _, height, width, _ = images.shape
    results = torch.zeros_like(images)
    for image, result, (flipped, row, column) in zip(images, results, draws.tolist(), strict=True):
        down, across = padding - row, padding - column  # where the image comes to lie
        top, bottom = max(down, 0), min(height + down, height)
        left, right = max(across, 0), min(width + across, width)
        if bottom <= top or right <= left:
            continue  # the crop holds padding alone
        part = image[top - down : bottom - down, left - across : right - across]
        if flipped:
            part, left, right = part.flip(1), width - right, width - left
        result[top:bottom, left:right] = part
    return results


def normalise(images: Tensor, mean: Tensor, std: Tensor, out: Tensor | None = None) -> Tensor:
    """uint8 k×H×W×C to float32 k×C×H×W with channel means 0 and deviations 1, channels last.

    One channel is repeated where there are several means. On the CPU the result is written into
    ``out``, float32 k×H×W×C, where it is given.
    """
    if images.shape[3] == 1 and len(mean) > 1:
        images = images.expand(*images.shape[:3], len(mean))
    count, height, width, channels = images.shape
    # Along whole rows, not along three channels, there are enough numbers for vector instructions.
    shape = (count, height, width * channels)
    mean, std = mean.repeat(width), std.repeat(width)
    if images.device.type == "cpu":
        if out is None:
            out = torch.empty(shape, dtype=torch.float32, device=images.device)
        rows = out.view(shape)
        # A few images at a time, which stay in the cache from one operation to the next.
        some = max(1, CACHED // max(1, height * width * channels))
        for part, pixels in zip(rows.split(some), images.reshape(shape).split(some), strict=True):
            part.copy_(pixels).div_(255.0).sub_(mean).div_(std)
    else:
        rows = images.reshape(shape).to(torch.float32).div_(255.0).sub_(mean).div_(std)
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


def resized_inputs(images: Tensor, side: int) -> Tensor:
    """Resize float images, k×C×H×W, to squares; to smaller ones without aliasing."""
    if tuple(images.shape[2:]) == (side, side):
        return images
    smooth = min(images.shape[2:]) > side
    return F.interpolate(
        images, (side, side), mode="bilinear", align_corners=False, antialias=smooth
    )
