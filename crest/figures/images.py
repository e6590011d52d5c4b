"""Images of single examples."""

from io import BytesIO
from typing import Any

import numpy as np

from crest.errors import needs_extra

with needs_extra("images"):
    from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def thumbnail(pixels: Pixels, largest: int = 96) -> bytes:
    """Return an image as PNG, shrunk until no side is longer than ``largest``.

    Parameters
    ----------
    pixels
        uint8, H×W×C. One channel is grey, three are colour; of any other number the mean is drawn.
    """
    image = Image.fromarray(_showable(np.asarray(pixels)))
    image.thumbnail((largest, largest))
    buffer = BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _showable(pixels: Pixels) -> Pixels:
    if pixels.shape[2] == 3:
        return pixels
    return pixels.mean(axis=2).astype(np.uint8)
