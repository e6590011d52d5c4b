"""The bytes that stand for an image in encoded storage: its file's own wherever that will do."""

import io
from dataclasses import dataclass

from crest.data.decoding import Decoded, RefusedError, Square, decode
from crest.data.sources import Pixels
from crest.errors import needs_extra

with needs_extra("images"):
    from PIL import Image

QUALITY = 95  # of the JPEG that larger images become
MOST_PIXELS = 2**26  # of an image: Pillow refuses to open larger ones where nobody lifts its limits


@dataclass(frozen=True)
class Kept:
    """The bytes of an image, and what they are decoded to."""

    content: bytes
    decoded: Decoded
    changed: str | None = None


LOSSLESS = "saved anew as PNG, which keeps every pixel, for want of JPEG, PNG or WebP of one frame"
SMALLER = "made smaller and saved as JPEG of quality 95 (prepare.encoded_side)"


def keep(content: bytes, square: Square | None, most: int | None = None) -> Kept:
    """Return the bytes to keep of an image, decoded once to see that they are whole.

    Parameters
    ----------
    square
        As of :func:`crest.data.decoding.decode`.
    most
        Pixels of the shorter side of the largest image to be kept as it is; None for any.

    Raises
    ------
    ValueError
        Its message says what is wrong with the image.
    """
    found = decode(content, square if most is None else None)
    whole = found.whole
    assert whole is not None, "bytes are decoded from a file"
    if most is not None and min(whole.height, whole.width) > most:
        return _anew(_smaller(found.pixels, most), found, square, SMALLER)
    if whole.height * whole.width > MOST_PIXELS:
        raise RefusedError(
            f"{whole.width}×{whole.height} pixels are more than the {MOST_PIXELS:,} that encoded "
            "storage keeps; set prepare.encoded_side, or prepare.storage to pixels"
        )
    if not whole.is_usual:
        pixels = decode(content).pixels if most is None else found.pixels
        return _anew(_saved(Image.fromarray(pixels), "PNG"), found, square, LOSSLESS)
    return Kept(content, found if most is None else decode(content, square))


def _anew(content: bytes, found: Decoded, square: Square | None, changed: str) -> Kept:
    """Return bytes that were written here; what was odd of the file stays said."""
    decoded = decode(content, square)
    return Kept(content, decoded._replace(traits=decoded.traits | found.traits), changed)


def _smaller(pixels: Pixels, side: int) -> bytes:
    """Return JPEG whose shorter side has so many pixels."""
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    smaller = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    return _saved(smaller, "JPEG", quality=QUALITY)


def _saved(image: Image.Image, form: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()
