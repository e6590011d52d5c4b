"""Photographs as JPEG files, cut out of the two that scikit-learn ships."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

SIZE = (500, 375)  # about that of ImageNet's in the mean, whose files have about 110 kB
QUALITY = 96


def photographs(
    count: int, size: tuple[int, int] = SIZE, quality: int = QUALITY
) -> Iterator[bytes]:
    """Yield files, each another part of a photograph; ``size`` is width and height."""
    whole = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    random = np.random.default_rng(0)
    for number in range(count):
        photograph = whole[number % len(whole)]
        width = int(random.integers(500, photograph.width + 1))
        height = min(width * size[1] // size[0], photograph.height)
        left = int(random.integers(photograph.width - width + 1))
        upper = int(random.integers(photograph.height - height + 1))
        part = photograph.crop((left, upper, left + width, upper + height))
        stream = io.BytesIO()
        part.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
        yield stream.getvalue()
