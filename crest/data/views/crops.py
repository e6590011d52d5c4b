"""Random resized crops: boxes drawn without knowing the size of an image.

As torchvision's RandomResizedCrop draws them: ten tries at an area and an aspect ratio, the first
that fits is put anywhere with equal chance; where none fits, the largest box in the middle whose
ratio is allowed. All ten are drawn for every image, so that draws do not depend on its size.

References
----------
Szegedy et al., Going deeper with convolutions, CVPR 2015.
"""

import math

import torch
from torch import Tensor

from crest.data.augment import Augmentation
from crest.data.views.uniform import below, between, draw_uniform

TRIES = 10
# Of width to height, as torchvision's and timm's.
RATIO = (3 / 4, 4 / 3)
# Of an image's draws: the area and the ratio of each try, then the place of the crop.
COLUMNS = 2 * TRIES + 2


def draw_crops(count: int, generator: torch.Generator) -> Tensor:
    """Draw the crops of ``count`` images of any size; int64, count×COLUMNS."""
    return draw_uniform(count, COLUMNS, generator)


def crop_boxes(
    draws: Tensor, heights: Tensor, widths: Tensor, augmentation: Augmentation
) -> Tensor:
    """Return where images are cropped before they are resized.

    Parameters
    ----------
    draws
        k rows of :func:`draw_crops`, on the CPU.
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
    heights, widths = heights[:, None], widths[:, None]
    areas = between(draws[:, 0 : 2 * TRIES : 2], *augmentation.scale) * (heights * widths)
    lowest, highest = (math.log(ratio) for ratio in RATIO)
    ratios = between(draws[:, 1 : 2 * TRIES : 2], lowest, highest).exp()
    tried = torch.stack([(areas / ratios).sqrt(), (areas * ratios).sqrt()]).round().long()
    fits = (tried >= 1).all(0) & (tried[0] <= heights) & (tried[1] <= widths)
    first = fits.byte().argmax(1, keepdim=True)
    sizes = tried.gather(2, first.expand(2, -1, -1))
    space = torch.stack([heights, widths])
    some = fits.any(1, keepdim=True)
    sizes = torch.where(some, sizes, _central(heights, widths))
    room = space - sizes
    anywhere = below(draws[:, 2 * TRIES :].T[:, :, None], room.clamp(min=0) + 1)
    places = torch.where(some, anywhere, room // 2)
    return torch.cat([places, sizes])[:, :, 0].T.contiguous()


def _central(heights: Tensor, widths: Tensor) -> Tensor:
    """Return height and width of the largest box of an allowed ratio; int64, 2×k×1."""
    tallest = (widths / RATIO[0]).round().long()
    widest = (heights * RATIO[1]).round().long()
    return torch.stack([torch.minimum(heights, tallest), torch.minimum(widths, widest)])
