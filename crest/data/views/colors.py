"""Changes of colour of a batch, each image by its own factor, as torchvision's functions make them.

Images are uint8, k×C×H×W with one channel or three; ``factors`` are k numbers of the host. Results
are torchvision's, bit for bit on the CPU. Nothing waits for a GPU.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from crest.devices.transfer import on_device
from crest.errors import needs_extra

Factors = Sequence[float]


def brightness(images: Tensor, factors: Factors) -> Tensor:
    """Multiply by the factors."""
    return images.mul(_column(factors, images, torch.float32)).clamp_(0, 255).to(torch.uint8)


def saturation(images: Tensor, factors: Factors) -> Tensor:
    """Mix with grey: 0 is grey, 1 the image."""
    images = images.contiguous()
    return images if images.shape[1] == 1 else _blend(images, _grey(images), factors)


def contrast(images: Tensor, factors: Factors) -> Tensor:
    """Mix with the mean of grey: 0 is the mean, 1 the image."""
    images = images.contiguous()
    return _blend(images, _grey(images).mean((1, 2, 3), keepdim=True), factors)


def hue(images: Tensor, factors: Factors) -> Tensor:
    """Turn hues by factors from -0.5 to 0.5 of the circle."""
    with needs_extra("images"):  # here, as it takes a second to import
        from torchvision.transforms.v2 import functional

    turned = zip(images.contiguous(), factors, strict=True)
    return torch.stack([functional.adjust_hue(image, factor) for image, factor in turned])


def sharpness(images: Tensor, factors: Factors) -> Tensor:
    """Mix all but the border with smoothed pixels: 0 is smooth, 1 the image."""
    if min(images.shape[2:]) <= 2:
        return images
    channels = images.shape[1]
    kernel = torch.full((channels, 1, 3, 3), 1.0 / 13.0, device=images.device)
    kernel[:, :, 1, 1] = 5.0 / 13.0
    sharp = images.contiguous().to(torch.float32)
    # One by one: of several at once the CPU takes more than three times as long.
    smooth = torch.cat([F.conv2d(one, kernel, groups=channels) for one in sharp.split(1)]).round_()
    inner = sharp[..., 1:-1, 1:-1]
    smooth.sub_(inner)
    for image, difference, factor in zip(inner, smooth, factors, strict=True):
        image.add_(difference, alpha=1.0 - factor)
    return sharp.clamp_(0, 255).to(torch.uint8)


def posterize(images: Tensor, factors: Factors) -> Tensor:
    """Keep the highest bits, as many as the factors say."""
    masks = [(255 << (8 - int(bits))) & 255 for bits in factors]
    return images & _column(masks, images, torch.uint8)


def solarize(images: Tensor, factors: Factors) -> Tensor:
    """Invert pixels from factor · 255 on."""
    thresholds = _column([255.0 * factor for factor in factors], images, torch.float32)
    return torch.where(images >= thresholds, 255 - images, images)


def autocontrast(images: Tensor, factors: Factors) -> Tensor:
    """Stretch each channel from 0 to 255; there are no factors."""
    images = images.contiguous()
    least = images.amin((2, 3), keepdim=True).float()
    extent = images.amax((2, 3), keepdim=True).float().sub_(least)
    flat = extent == 0.0
    scale = torch.where(flat, 1.0, extent.mul_(1.0 / 255.0))
    stretched = images.sub(torch.where(flat, 0.0, least)).div_(scale)
    return stretched.clamp_(0, 255).to(torch.uint8)


def equalize(images: Tensor, factors: Factors) -> Tensor:
    """Even out each channel's histogram; there are no factors."""
    with needs_extra("images"):
        from torchvision.transforms.v2 import functional

    return functional.equalize(images.contiguous())


def _grey(images: Tensor) -> Tensor:
    """Return float32, k×1×H×W, whole numbers."""
    if images.shape[1] == 1:
        return images.to(torch.float32)
    red, green, blue = images.split(1, 1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()


def _blend(images: Tensor, others: Tensor, factors: Factors) -> Tensor:
    """Return factor · image + (1 − factor) · other; image by image, as the sum is rounded once."""
    results = torch.empty_like(images)
    for image, other, result, factor in zip(images, others, results, factors, strict=True):
        result.copy_(image.mul(factor).add_(other, alpha=1.0 - factor).clamp_(0, 255))
    return results


def _column(values: Sequence[float], images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return numbers of the host where the images are, k×1×1×1."""
    return on_device(torch.tensor(values, dtype=dtype), images.device)[:, None, None, None]
