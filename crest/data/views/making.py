"""Views of images: all randomness of them in one row of numbers an image, and then the pixels."""

import torch
from torch import Tensor

from crest.data.augment import (
    Augmentation,
    crop_and_flip,
    draw_crops_and_flips,
    normalise,
    nothing_drawn,
)
from crest.data.views.boxes import COLUMNS as CROP
from crest.data.views.boxes import draw_boxes
from crest.data.views.crops import resized_crops
from crest.data.views.erasing import draw_erasing, erase
from crest.data.views.jitter import COLUMNS as JITTER
from crest.data.views.jitter import draw_jitter, jitter
from crest.data.views.policies import COLUMNS as OPERATION
from crest.data.views.policies import draw_operations, operate, policy_of

PLACE = 3  # columns of flips and padded crops


def draw_views(count: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Draw views of ``count`` images of any size.

    Parameters
    ----------
    generator
        A CPU generator, so that every device draws the same.

    Returns
    -------
    Tensor
        int64, a row an image, on the CPU: whether it is flipped and the first row and column of a
        padded crop, then whatever else ``augmentation`` asks for; count×0 if it asks for nothing.
    """
    if augmentation == Augmentation():
        return nothing_drawn(count)
    drawn = [draw_crops_and_flips(count, augmentation, generator)]
    if not drawn[0].shape[1]:
        drawn = [torch.zeros(count, PLACE, dtype=torch.int64)]
    if augmentation.scale is not None:
        drawn.append(draw_boxes(count, generator))
    if (policy := policy_of(augmentation)) is not None:
        drawn.append(draw_operations(count, policy, generator))
    if augmentation.color or augmentation.hue:
        drawn.append(draw_jitter(count, generator))
    if augmentation.erasing:
        drawn.append(draw_erasing(count, generator))
    return torch.cat(drawn, 1)


def crop_draws(draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Return the columns that :func:`crest.data.views.crops.crop_boxes` takes."""
    assert augmentation.scale is not None
    return draws[:, PLACE : PLACE + CROP]


def make_views(
    images: Tensor,
    draws: Tensor,
    augmentation: Augmentation,
    mean: Tensor,
    std: Tensor,
    out: Tensor | None = None,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Make views of images of one size: resized crops, then as :func:`finish_views`.

    ``size`` is what crops are resized to; None for the images' own.
    """
    if augmentation.scale is not None:
        images = resized_crops(images, crop_draws(draws, augmentation), augmentation, size)
    return finish_views(images, draws, augmentation, mean, std, out)


def finish_views(
    images: Tensor,
    draws: Tensor,
    augmentation: Augmentation,
    mean: Tensor,
    std: Tensor,
    out: Tensor | None = None,
) -> Tensor:
    """Make views of images that are cropped and resized already, if they are to be.

    Padded crops and flips, a policy's operations and colour jitter, in this order on whole pixels;
    then normalisation, and erasing.

    Parameters
    ----------
    images
        uint8, k×H×W×C, on any device.
    draws
        k rows of :func:`draw_views`, on the CPU.
    mean, std
        Of the channels, on the images' device.
    out
        What views on the CPU are written into, float32 k×H×W×C; None for memory of their own.

    Returns
    -------
    Tensor
        float32, k×C×H×W, channels last in memory.
    """
    if augmentation == Augmentation():
        return normalise(images, mean, std, out)
    images = crop_and_flip(images, augmentation, draws[:, :PLACE])
    start = PLACE + (0 if augmentation.scale is None else CROP)
    if (policy := policy_of(augmentation)) is not None:
        end = start + policy.operations * OPERATION
        images = operate(images, draws[:, start:end], policy)
        start = end
    if augmentation.color or augmentation.hue:
        images = jitter(images, draws[:, start : start + JITTER], augmentation)
        start += JITTER
    views = normalise(images, mean, std, out)
    return erase(views, draws[:, start:], augmentation.erasing) if augmentation.erasing else views
