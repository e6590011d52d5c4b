"""Resizing of an image, bilinear and antialiased."""

from torch import Tensor
from torch.nn import functional as F


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image as Pillow does, up to rounding.

    Parameters
    ----------
    pixels
        uint8, H×W×C.
    size
        Rows and columns.
    """
    if tuple(pixels.shape[:2]) == size:
        return pixels
    # PyTorch has a fast way for three channels that lie last in memory. It goes by the strides,
    # those of a single image's first axis too: added to channels that lie last by `[None]`, that
    # axis has a stride as of channels that lie first.
    image = pixels.contiguous()[None].permute(0, 3, 1, 2)
    result = F.interpolate(image, size, mode="bilinear", antialias=True)
    return result.permute(0, 2, 3, 1)[0].contiguous()
