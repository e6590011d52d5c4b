"""One image of any source as uint8 pixels: upright, in RGB, on white where it is transparent."""

import io
import threading
from collections.abc import Set
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from crest.data.image_formats import (
    FORMATS,
    ORIENTATION,
    PLANAR_CONFIGURATION,
    SAMPLES_PER_PIXEL,
    bits,
    explain,
    tiff_tag,
)
from crest.data.sources import Example, Pixels
from crest.devices.machine import memory, readable
from crest.errors import needs_extra

with needs_extra("images"):
    from PIL import Image

GROUND = (255, 255, 255)  # what shows where an image is transparent, as on a page
MAX_PIXELS = 2**30
PIXEL_BYTES = 8  # of a decoded pixel: Pillow takes four for RGB, and four more to convert it
LARGE_PIXELS = 2**24
# What Pillow calls the parts of a file that may say how an image is turned, and of a JPEG that may
# say anything of its colours too.
METADATA = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})
ADDED = METADATA | {"icc_profile"}
# Formats whose bytes are kept as they are; a text that Pillow's own limits would refuse is not.
USUAL = frozenset({"JPEG", "MPO", "PNG", "WEBP"})
LONGEST_TEXT = 2**18  # characters
USUAL_GAMMA = 0.45455  # sRGB's, as PNG writes it
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Large images are decoded one at a time, whatever the number of threads.
_one_large = threading.Lock()


class Trait(Enum):
    """What was done to an image, or left undone, that people are to know; in words."""

    TURNED = "turned upright, as EXIF orientation says"
    BROKEN_EXIF = "with EXIF data that cannot be read, taken as stored"
    TRANSPARENT = "transparent in parts, laid on white"
    FRAMES = "of several frames or pages, of which the first is taken"
    CMYK = "in CMYK, converted to RGB by the plain formula"
    PROFILE = "with another colour profile or gamma than sRGB's, values taken as stored"
    EXTRA = "with channels beyond the colours, which are left out"
    SQUEEZED = "that were not square, squeezed into the square of prepare.image_size (prepare.fit)"
    CROPPED = "that were not square, cut to the square in their middle (prepare.fit)"
    PALETTE = "with colours that the palette lacks, taken for black"


@dataclass(frozen=True)
class Whole:
    """A compressed image before it was resized.

    Attributes
    ----------
    height, width
        Of the upright image.
    is_plain
        Whether it is a JPEG that is decoded and no more: nothing to turn or convert.
    is_usual
        Whether its own bytes do for training: JPEG, PNG or WebP of one frame.
    """

    height: int
    width: int
    is_plain: bool
    is_usual: bool


class Decoded(NamedTuple):
    """The pixels of an image, uint8, H×W×C, and its traits; ``whole`` None where it had pixels."""

    pixels: Pixels
    traits: Set[Trait] = frozenset()
    whole: Whole | None = None


@dataclass(frozen=True)
class Square:
    """The square that images are resized to.

    Parameters
    ----------
    side
        Its pixels a side.
    squeeze
        Whether the whole image is squeezed into it; else the shorter side becomes ``side`` and what
        stands over at both ends of the longer is cut off, as evaluation on photographs does.
    """

    side: int
    squeeze: bool = False

    @property
    def trait(self) -> Trait:
        """What became of an image that was not square."""
        return Trait.SQUEEZED if self.squeeze else Trait.CROPPED

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return what is kept of an image: left, upper, right and lower."""
        if self.squeeze:
            return 0.0, 0.0, float(width), float(height)
        kept = min(width, height)
        left, upper = (width - kept) / 2, (height - kept) / 2
        return left, upper, left + kept, upper + kept


class RefusedError(ValueError):
    """An image that is not read; its message says why, in full."""


def decode(example: Example, square: Square | None = None) -> Decoded:
    """Decode one image.

    Parameters
    ----------
    example
        A compressed image, which becomes RGB, or pixels, whose channels stay.
    square
        What to resize to; None: as it is.

    Raises
    ------
    ValueError
        Its message says what is wrong with the image.
    """
    if example is None:
        raise RefusedError("there is no image (null)")
    if isinstance(example, bytes):
        return _decode(example, square)
    if 0 in example.shape:
        raise RefusedError("the image has no pixels")
    if square is None:
        return Decoded(example)
    height, width = example.shape[:2]
    return Decoded(_resize(example, square), {square.trait} if height != width else set())


def read_image(example: Example, square: Square | None = None) -> Pixels:
    """Decode one image, as :func:`decode` does, for its pixels alone."""
    return decode(example, square).pixels


def _decode(content: bytes, square: Square | None) -> Decoded:
    if not content:
        raise RefusedError("the image is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _upright_rgb(image, content, square)
    except RefusedError:
        raise
    except Image.UnidentifiedImageError:
        raise RefusedError(explain(content)) from None
    except Image.DecompressionBombError:
        raise RefusedError(_too_large("the image, or a tile of it, has")) from None
    except MemoryError:
        raise RefusedError("there is not enough memory to decode it; make it smaller") from None
    except Exception as error:
        # What Pillow raises for damaged images is of every kind: SyntaxError and struct.error too.
        reason = str(error) or type(error).__name__
        raise RefusedError(f"the image cannot be decoded ({reason})") from None


def _upright_rgb(image: Image.Image, content: bytes, square: Square | None) -> Decoded:
    width, height = image.size
    if width * height > LARGE_PIXELS:
        _check_size(width, height)
        with _one_large:
            decoded = _convert(image, content, square)
    else:
        decoded = _convert(image, content, square)
    if square is None or width == height:
        return decoded
    return decoded._replace(traits=decoded.traits | {square.trait})


def _convert(image: Image.Image, content: bytes, square: Square | None) -> Decoded:
    colours, traits, is_plain = _upright(image, content)
    whole = Whole(colours.height, colours.width, is_plain, _is_usual(image, traits))
    return Decoded(np.asarray(_sized(colours, square)), traits, whole)


def _is_usual(image: Image.Image, traits: Set[Trait]) -> bool:
    moves = Trait.FRAMES in traits and image.format in ("PNG", "WEBP")
    long = any(isinstance(text, str) and len(text) > LONGEST_TEXT for text in image.info.values())
    return image.format in USUAL and not moves and not long


def _upright(image: Image.Image, content: bytes) -> tuple[Image.Image, set[Trait], bool]:
    """Return an opened image upright and in RGB, its traits, and whether it was so all along."""
    if image.format == "JPEG" and image.mode in ("RGB", "L") and ADDED.isdisjoint(image.info):
        return _plain_rgb(image), set(), True  # there is nothing to convert
    if (depth := bits(image, content)) > 8:
        # Pillow would cut them off, or clip the values at 255.
        raise RefusedError(f"more than 8 bits a channel ({depth}); save it with 8")
    if image.format == "TIFF":
        _check_whole(image)
    traits = _traits(image)
    colours = _rgb(image, depth, traits)
    if (turn := _turn(image, traits)) is not None:
        colours = colours.transpose(turn)
    return colours, traits, False


def _sized(image: Image.Image, square: Square | None) -> Image.Image:
    if square is None or image.size == (square.side, square.side):
        return image
    size, box = (square.side, square.side), square.box(*image.size)
    return image.resize(size, Image.Resampling.BICUBIC, box)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise RefusedError(_too_large(f"{width}×{height} pixels are"))
    if (taken := width * height * PIXEL_BYTES) > memory() / 2:
        raise RefusedError(
            f"{width}×{height} pixels take {readable(taken)} of memory to decode, more than half "
            f"of what there is ({readable(memory())}); make it smaller or cut it up"
        )


def _check_whole(image: Image.Image) -> None:
    """Refuse a TIFF that lacks strips or tiles, which Pillow would leave black."""
    separate = 2 in tiff_tag(image, PLANAR_CONFIGURATION)
    planes = max(tiff_tag(image, SAMPLES_PER_PIXEL), default=1) if separate else 1
    pixels = image.width * image.height * planes
    extents = [tile[1] for tile in getattr(image, "tile", ())]
    if sum((right - left) * (lower - upper) for left, upper, right, lower in extents) < pixels:
        raise RefusedError("the image cannot be decoded (it lacks strips or tiles)")


def _too_large(what: str) -> str:
    return f"{what} more than the {MAX_PIXELS:,} pixels that are read; make it smaller or cut it up"


def _traits(image: Image.Image) -> set[Trait]:
    """Return what shows before decoding."""
    traits = set()
    info = image.info
    if image.format == "MPO" or _has_frames(image):
        traits.add(Trait.FRAMES)
    if image.mode == "CMYK":
        traits.add(Trait.CMYK)
    if image.mode != "LAB" and not _is_srgb(
        info.get("icc_profile"), info.get("gamma", USUAL_GAMMA)
    ):
        traits.add(Trait.PROFILE)
    if image.format == "TIFF":
        if max(tiff_tag(image, SAMPLES_PER_PIXEL), default=1) > len(image.getbands()):
            traits.add(Trait.EXTRA)
        if set(tiff_tag(image, ORIENTATION)) & TURNS.keys():
            traits.add(Trait.TURNED)  # Pillow does so by itself as it decodes TIFF
    return traits


def _has_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a second frame that is damaged; it is not read
        return True


def _is_srgb(profile: bytes | None, gamma: float) -> bool:
    if profile:
        return b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile
    return abs(gamma - USUAL_GAMMA) < 0.01


def _rgb(image: Image.Image, depth: int, traits: set[Trait]) -> Image.Image:
    if image.mode == "P":
        _check_palette(image, traits)
    if "transparency" in image.info or (image.mode != "L" and image.has_transparency_data):
        return _on_ground(image, depth, traits)
    return _plain_rgb(image)


def _plain_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()  # converting would copy it
        return image
    return image.convert("RGB")


def _check_palette(image: Image.Image, traits: set[Trait]) -> None:
    if image.palette is None:
        raise RefusedError("the image has no palette, though its pixels are numbers of a palette")
    if image.format == "PNG":
        image.load()
        highest = image.getextrema()[1]
        if isinstance(highest, int) and 3 * highest >= len(image.palette.palette):
            traits.add(Trait.PALETTE)


def _on_ground(image: Image.Image, depth: int, traits: set[Trait]) -> Image.Image:
    """Lay an image on the ground, which shows where it is transparent."""
    if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
        # Pillow scales greys of 2 and 4 bits to 0 to 255, but not the one that is transparent.
        highest = 2**depth - 1
        image.info["transparency"] = (image.info["transparency"] & highest) * 255 // highest
    colours = image.convert("RGBA")
    alpha = colours.getchannel("A")
    colours = colours.convert("RGB")
    lowest, topmost = alpha.getextrema()
    # Many programs leave the fourth byte of a BMP's pixels at 0, and show it as if it were 255.
    if lowest == 255 or (image.format == "BMP" and topmost == 0):
        return colours
    traits.add(Trait.TRANSPARENT)
    ground = Image.new("RGB", image.size, GROUND)
    ground.paste(colours, mask=alpha)
    return ground


def _turn(image: Image.Image, traits: set[Trait]) -> Image.Transpose | None:
    """Return how an image is to be turned or mirrored, if it is; PNG may say so at its end."""
    if METADATA.isdisjoint(image.info):
        return None
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:
        # As of any damaged part of an image, Pillow raises errors of every kind.
        traits.add(Trait.BROKEN_EXIF)
        return None
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    if turn is not None:
        traits.add(Trait.TURNED)
    return turn


def _resize(pixels: Pixels, square: Square) -> Pixels:
    flat = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    resized = _sized(Image.fromarray(flat), square)
    return np.asarray(resized).reshape(square.side, square.side, -1)
