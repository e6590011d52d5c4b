"""Augmentation and normalisation of whole batches of images, on the device they lie on."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from crest.devices.transfer import on_device


@dataclass(frozen=True)
class Augmentation:
    """Random crops after ``crop`` pixels of zero padding, and random horizontal flips."""

    crop: int = 0
    flip: bool = False


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


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 k×H×W×C to float32 k×C×H×W with channel means 0 and deviations 1, channels last.

    One channel is repeated where there are several means.
    """
    if images.shape[3] == 1 and len(mean) > 1:
        images = images.expand(*images.shape[:3], len(mean))
    scaled = images.to(torch.float32).div_(255.0).sub_(mean).div_(std)
    return scaled.permute(0, 3, 1, 2)


def resized(images: Tensor, side: int) -> Tensor:
    """Resize float images, k×C×H×W, to squares; to smaller ones without aliasing."""
    smooth = min(images.shape[2:]) > side
    return F.interpolate(
        images, (side, side), mode="bilinear", align_corners=False, antialias=smooth
    )
