"""Random resized crops, as torchvision's RandomResizedCrop.

A crop is drawn without knowing the size of its image (:mod:`crest.data.views.boxes`). Where no try
fits it is the largest box in the middle whose ratio is allowed.

References
----------
Szegedy et al., Going deeper with convolutions, CVPR 2015.
"""

import torch
from torch import Tensor

from crest.data.augment import Augmentation
from crest.data.views.boxes import places_of, sizes_of
from crest.data.views.resizing import resized

# Of width to height, as torchvision's and timm's.
RATIO = (3 / 4, 4 / 3)


def crop_boxes(
    draws: Tensor, heights: Tensor, widths: Tensor, augmentation: Augmentation
) -> Tensor:
    """Return where images are cropped before they are resized.

    Parameters
    ----------
    draws
        k rows of :func:`crest.data.views.boxes.draw_boxes`, on the CPU.
    heights, widths
        int64, k, pixels of each image, from 1 to 2²⁶.
    augmentation
        ``scale``: the least and the greatest share of an image's area.

    Returns
    -------
    Tensor
        int64, k×4, on the CPU: top, left, height, width. Within the image, of 1 pixel or more.
    """
    assert augmentation.scale is not None
    space = torch.stack([heights, widths], 1)
    sizes, fits = sizes_of(draws, space, augmentation.scale, RATIO, space)
    sizes = torch.where(fits, sizes, _central(space))
    places = torch.where(fits, places_of(draws, space, sizes), (space - sizes) // 2)
    return torch.cat([places, sizes], 1)


def size_of_views(
    size: tuple[int, int], augmentation: Augmentation, side: int | None
) -> tuple[int, int]:
    """Return rows and columns that views of images of ``size`` are made in.

    Crops that are resized become the network's ``side`` at once; others are resized afterwards.
    """
    return size if side is None or augmentation.scale is None else (side, side)


def resized_crops(
    images: Tensor, draws: Tensor, augmentation: Augmentation, size: tuple[int, int] | None = None
) -> Tensor:
    """Crop images and resize the crops, bilinear and antialiased.

    Parameters
    ----------
    images
        uint8, k×H×W×C.
    draws
        As of :func:`crop_boxes`.
    size
        Rows and columns to resize to; None for the images' own.

    Returns
    -------
    Tensor
        Of that size. On a GPU pixels may differ by one from the CPU's, which rounds otherwise.
    """
    count, height, width, channels = images.shape
    size = size or (height, width)
    heights, widths = torch.full((count,), height), torch.full((count,), width)
    results = images.new_empty(count, *size, channels)
    for image, result, (top, left, rows, columns) in zip(
        images, results, crop_boxes(draws, heights, widths, augmentation).tolist(), strict=True
    ):
        result.copy_(resized(image[top : top + rows, left : left + columns], size))
    return results


def _central(space: Tensor) -> Tensor:
    """Return height and width of the largest box of an allowed ratio; int64, k×2."""
    heights, widths = space.unbind(1)
    tallest = (widths / RATIO[0]).round().long()
    widest = (heights * RATIO[1]).round().long()
    return torch.stack([torch.minimum(heights, tallest), torch.minimum(widths, widest)], 1)
