"""Random erasing: a rectangle of a view becomes the mean colour.

As torchvision's RandomErasing after normalisation, with its default areas, ratios and value.

References
----------
Zhong et al., Random Erasing Data Augmentation, AAAI 2020.
"""

import torch
from torch import Tensor

from crest.data.views.boxes import COLUMNS as BOX
from crest.data.views.boxes import draw_boxes, places_of, sizes_of
from crest.data.views.uniform import between, draw_uniform

SCALE = (0.02, 0.33)
RATIO = (1 / 3.3, 1 / 0.3)  # of width to height; torchvision names that of height to width
COLUMNS = BOX + 1


def draw_erasing(count: int, generator: torch.Generator) -> Tensor:
    """Draw where ``count`` views are erased, and whether; int64, count×COLUMNS."""
    return torch.cat([draw_boxes(count, generator), draw_uniform(count, 1, generator)], 1)


def erased_boxes(draws: Tensor, height: int, width: int, chance: float) -> Tensor:
    """Return what is erased of k views; int64, k×4: top, left, height, width, all 0 for nothing.

    ``draws``: k rows of :func:`draw_erasing`, on the CPU. A view is erased with the given chance,
    unless it is so small that none of ten rectangles fits.
    """
    space = torch.tensor([[height, width]]).expand(len(draws), 2)
    sizes, fits = sizes_of(draws, space, SCALE, RATIO, space - 1)
    erased = fits & (between(draws[:, -1:], 0.0, 1.0) < chance)
    sizes = torch.where(erased, sizes, 0)
    places = torch.where(erased, places_of(draws[:, :BOX], space, sizes), 0)
    return torch.cat([places, sizes], 1)


def erase(views: Tensor, draws: Tensor, chance: float) -> Tensor:
    """Erase parts of normalised views in place; float32 k×C×H×W."""
    boxes = erased_boxes(draws, views.shape[2], views.shape[3], chance).tolist()
    for view, (top, left, rows, columns) in zip(views, boxes, strict=True):
        if rows:
            view[:, top : top + rows, left : left + columns] = 0.0
    return views
