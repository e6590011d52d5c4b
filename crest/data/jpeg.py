"""JPEGs and parts of them, decoded by simplejpeg where it is installed and by Pillow elsewhere.

Both are libjpeg-turbo at the same settings, and give the same pixels. simplejpeg goes straight to
three bytes a pixel and leaves Python's interpreter to other threads; Pillow takes half as long
again, and reads whatever simplejpeg will not.
"""

import io
import warnings
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from crest.data.sources import Pixels
from crest.errors import MissingPackageError, needs_extra

with needs_extra("images"):
    from PIL import Image


def _library() -> ModuleType | None:
    try:
        with needs_extra("jpeg"):
            import simplejpeg
    except MissingPackageError:
        return None
    found: ModuleType = simplejpeg
    return found


_simplejpeg = _library()


def say_what_is_slow() -> None:
    """Warn where JPEGs are decoded by Pillow."""
    if _simplejpeg is None:
        warnings.warn(
            "simplejpeg is not installed: JPEGs are decoded by Pillow, to the same pixels in half "
            'as much time again; pip install "crest-coresets[jpeg]" brings it',
            stacklevel=2,
        )


def part_of_jpeg(content: bytes | bytearray, box: Sequence[int], draft: int = 1) -> Pixels:
    """Return a box of a JPEG that needs nothing but decoding; uint8, H×W×3.

    Parameters
    ----------
    box
        Top, left, height and width, in pixels of the whole image.
    draft
        1, 2, 4 or 8: so many times fewer rows and columns are decoded.

    Raises
    ------
    OSError, SyntaxError, ValueError
        If it cannot be decoded.
    """
    if draft > 1 or (whole := whole_jpeg(content)) is None:
        return part_by_pillow(content, box, draft)
    top, left, rows, columns = box
    return whole[top : top + rows, left : left + columns]


def whole_jpeg(content: bytes | bytearray) -> Pixels | None:
    """Return what simplejpeg makes of a JPEG that needs nothing but decoding; uint8, H×W×3.

    None where it is not installed, or finds fault.
    """
    if _simplejpeg is None:
        return None
    try:
        pixels: Pixels = _simplejpeg.decode_jpeg(content, "RGB")
    except ValueError:
        return None  # Pillow passes over some faults, as libjpeg can, and names the others
    return pixels


def part_by_pillow(content: bytes | bytearray, box: Sequence[int], draft: int) -> Pixels:
    """As :func:`part_of_jpeg`, whatever is installed."""
    top, left, rows, columns = (value // draft for value in box)
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        if draft > 1:
            image.draft("RGB", (image.width // draft, image.height // draft))
        # Only what is needed is brought from Pillow's four bytes a pixel to three.
        return np.array(image.crop((left, top, left + columns, top + rows)).convert("RGB"))
