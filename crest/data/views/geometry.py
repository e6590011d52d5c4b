"""Shears, translations and rotations of a batch, each image by its own, to the nearest pixel.

What torchvision's affine and rotate do with images of one size, by one gather of whole pixels: a
view is the same on every device. Where a source point lies midway between two pixels, or within
rounding of it, torchvision's float32 may take the other one.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from crest.devices.transfer import on_device

# From a magnitude, and an image's height and width, to what maps a pixel of the result to one of
# the source, both measured from the middle: a row for x and one for y.
Matrix = Callable[[float, int, int], list[list[float]]]


def shear_x(magnitude: float, height: int, width: int) -> list[list[float]]:
    """Shift rows by ``magnitude`` times their place."""
    return [[1.0, magnitude, magnitude * height / 2], [0.0, 1.0, 0.0]]


def shear_y(magnitude: float, height: int, width: int) -> list[list[float]]:
    """Shift columns by ``magnitude`` times their place."""
    return [[1.0, 0.0, 0.0], [magnitude, 1.0, magnitude * width / 2]]


def translate_x(magnitude: float, height: int, width: int) -> list[list[float]]:
    """Shift by whole pixels to the right, towards 0 where ``magnitude`` is none."""
    return [[1.0, 0.0, -float(int(magnitude))], [0.0, 1.0, 0.0]]


def translate_y(magnitude: float, height: int, width: int) -> list[list[float]]:
    """Shift by whole pixels down."""
    return [[1.0, 0.0, 0.0], [0.0, 1.0, -float(int(magnitude))]]


def rotate(magnitude: float, height: int, width: int) -> list[list[float]]:
    """Turn by ``magnitude`` degrees, counter-clockwise."""
    angle = math.radians(magnitude)
    cosine, sine = math.cos(angle), math.sin(angle)
    return [[cosine, -sine, 0.0], [sine, cosine, 0.0]]


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Move the pixels of each image; what comes from outside is 0.

    Parameters
    ----------
    images
        uint8, k×H×W×C.
    matrices
        float64, k×2×3, on the CPU; see :data:`Matrix`.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    count, height, width, channels = images.shape
    device = images.device
    matrices = on_device(matrices, device)[..., None, None]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    across = torch.arange(width, dtype=torch.float64, device=device) - middle_x
    down = (torch.arange(height, dtype=torch.float64, device=device) - middle_y)[:, None]
    columns, rows = (
        (matrices[:, axis, 0] * across + (matrices[:, axis, 1] * down + matrices[:, axis, 2]))
        .add_(middle)
        .round_()
        for axis, middle in ((0, middle_x), (1, middle_y))
    )
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    starts = torch.arange(count, device=device)[:, None, None] * (height * width)
    places = rows.clamp_(0, height - 1).mul_(width).add_(columns.clamp_(0, width - 1)).add_(starts)
    moved = images.reshape(-1, channels).index_select(0, places.long().reshape(-1))
    return moved.view(images.shape).mul_(inside[..., None])
