"""Random boxes in images, drawn without knowing the size of an image.

As torchvision draws them: ten tries at an area and an aspect ratio, the first that fits is put
anywhere with equal chance. All ten are drawn for every image, so that draws do not depend on its
size.
"""

import math

import torch
from torch import Tensor

from crest.data.views.uniform import below, between, draw_uniform

TRIES = 10
# Of an image's draws: the area and the ratio of each try, then the place of the box.
COLUMNS = 2 * TRIES + 2


def draw_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Draw a box in each of ``count`` images of any size; int64, count×COLUMNS."""
    return draw_uniform(count, COLUMNS, generator)


def sizes_of(
    draws: Tensor,
    space: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    largest: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the sizes of the boxes.

    Parameters
    ----------
    draws
        k rows of :func:`draw_boxes`, on the CPU.
    space
        int64, k×2: height and width of each image, from 1 to 2²⁶.
    scale, ratio
        Range of a box's share of the area, and of its width to its height.
    largest
        int64, k×2: the greatest height and width of a box that fits.

    Returns
    -------
    tuple of Tensor
        int64, k×2, height and width of the first try that fits; bool, k×1, whether one does.
    """
    areas = between(draws[:, 0 : 2 * TRIES : 2], *scale) * space.prod(1, keepdim=True)
    ratios = between(draws[:, 1 : 2 * TRIES : 2], math.log(ratio[0]), math.log(ratio[1])).exp()
    tried = torch.stack([areas / ratios, areas * ratios], 2).sqrt().round().long()
    fits = ((tried >= 1) & (tried <= largest[:, None])).all(2)
    first = fits.byte().argmax(1)
    return tried[torch.arange(len(tried)), first], fits.any(1, keepdim=True)


def places_of(draws: Tensor, space: Tensor, sizes: Tensor) -> Tensor:
    """Return top and left of boxes put anywhere; int64, k×2. ``sizes`` are at most ``space``."""
    return below(draws[:, 2 * TRIES :], space - sizes + 1)
