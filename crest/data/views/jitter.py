"""Colour jitter: brightness, contrast, saturation and hue at random, in random order.

As torchvision's ColorJitter.
"""

from itertools import permutations

import torch
from torch import Tensor

from crest.data.augment import Augmentation
from crest.data.views import colors
from crest.data.views.rows import put, taken
from crest.data.views.uniform import below, between, draw_uniform

CHANGES = (colors.brightness, colors.contrast, colors.saturation, colors.hue)
ORDERS = torch.tensor(list(permutations(range(len(CHANGES)))))
# Pixels whose colours the CPU changes at once.
AT_ONCE = 2**17
# Of an image's draws: a number for each change, and one for their order.
COLUMNS = len(CHANGES) + 1


def draw_jitter(count: int, generator: torch.Generator) -> Tensor:
    """Draw how the colours of ``count`` images change; int64, count×COLUMNS."""
    return draw_uniform(count, COLUMNS, generator)


def factors_of(draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Return the factor of each change; float64, k×4."""
    color, hue = augmentation.color, augmentation.hue
    low, high = max(0.0, 1.0 - color), 1.0 + color
    return torch.cat([between(draws[:, :3], low, high), between(draws[:, 3:4], -hue, hue)], 1)


def orders_of(draws: Tensor) -> Tensor:
    """Return the order of the changes, as their places in CHANGES; int64, k×4."""
    return ORDERS[below(draws[:, -1], len(ORDERS))]


def jitter(images: Tensor, draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Change the colours of images.

    Parameters
    ----------
    images
        uint8, k×H×W×C, of one channel or three.
    draws
        k rows of :func:`draw_jitter`, on the CPU.
    augmentation
        ``color``, by which brightness, contrast and saturation differ from 1 at most, and ``hue``,
        the greatest turn, a share of the circle up to 0.5.
    """
    if images.device.type == "cpu":
        # As many as stay in the caches.
        most = max(1, AT_ONCE // (images.shape[1] * images.shape[2]))
        results = torch.empty_like(images)
        for image, result, drawn in zip(
            images.split(most), results.split(most), draws.split(most), strict=True
        ):
            result.copy_(_jittered(image, drawn, augmentation))
        return results
    return _jittered(images, draws, augmentation)


def _jittered(images: Tensor, draws: Tensor, augmentation: Augmentation) -> Tensor:
    factors, orders = factors_of(draws, augmentation), orders_of(draws)
    planes = images.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
    used = [True] * 3 if augmentation.color else [False] * 3
    used.append(augmentation.hue > 0.0)
    for turn in range(len(CHANGES)):
        for number, change in enumerate(CHANGES):
            rows = torch.nonzero(orders[:, turn] == number).flatten()
            if used[number] and len(rows):
                places = rows.tolist()
                changed = change(taken(planes, places), factors[rows, number].tolist())
                put(planes, places, changed)
    return planes.permute(0, 2, 3, 1)
