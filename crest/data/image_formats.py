"""Which image formats are read, what their files are called, and what their bytes say themselves.

Pillow cuts deeper channels down to 8 bits without a word in most formats, and its message for what
it cannot open says nothing of the reason; both are looked up in the bytes.
"""

import io
import re
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from crest.errors import needs_extra

with needs_extra("images"):
    from PIL import Image

# Pillow also opens formats that start other programs; these do not.
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "AVIF",
    "JPEG2000",
)  # as they are tried
SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("bmp", "dib", "gif", "png", "apng", "webp", "avif", "avifs", "tif", "tiff"),
        *("jpg", "jpeg", "jpe", "jfif", "jif", "mpo", "pbm", "pgm", "ppm", "pnm"),
        *("jp2", "j2k", "j2c", "jpc", "jpf", "jpx"),
    )
)
# Of files whose own bytes do for training, but for a few odd ones.
KEPT_SUFFIXES = frozenset(
    f".{ending}" for ending in ("jpg", "jpeg", "jpe", "jfif", "jif", "mpo", "png", "webp")
)
# Images all the same, so leaving one out is worth more than a count.
UNREAD_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("heic", "heics", "heif", "heifs", "hif", "jxl", "jxr", "svg", "eps", "wmf", "psd", "xcf"),
        *("ico", "icns", "tga", "pcx", "dds", "sgi", "ras", "xbm", "xpm", "qoi", "pfm", "exr"),
        *("hdr", "fits", "dcm", "nii", "dng", "raw", "raf", "arw", "cr2", "cr3", "nef", "orf"),
        *("rw2",),
    )
)

# How files begin that people take for images, and what they are.
OTHER_FILES: Mapping[bytes, str] = MappingProxyType({
    b"version https://git-lfs": "a Git LFS pointer, not the image itself; run `git lfs pull`",
    b"<!DOCTYPE": "a web page, as a failed download leaves it; download the image again",
    b"<html": "a web page, as a failed download leaves it; download the image again",
    b"<?xml": "SVG or other XML, which is not read; save the image as PNG",
    b"<svg": "SVG, which is not read; save the image as PNG",
    b"%PDF": "a PDF, which is not read; save the image as PNG",
    b"8BPS": "a Photoshop file, which is not read; save the image as PNG",
    b"\0\0\1\0": "an icon (ICO), which is not read; save the image as PNG",
    b"\0\5\x16\7": "an AppleDouble file of macOS, which holds no image; remove it",
})  # fmt: skip
# Numbers of TIFF's tags, and what SampleFormat says of unsigned integers (4: it does not say).
BITS_PER_SAMPLE, ORIENTATION, SAMPLES_PER_PIXEL = 258, 274, 277
PLANAR_CONFIGURATION, SAMPLE_FORMAT = 284, 339
UNSIGNED = (1, 4)
SAYING = (SyntaxError, ValueError, OSError)  # errors of Pillow's whose texts are for people
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def explain(content: bytes) -> str:
    """Say why Pillow cannot open what it is given."""
    text = content[:100].removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, what in OTHER_FILES.items():
        if text.startswith(magic):
            return what
    if content[4:8] == b"ftyp" and content[8:12] in HEIF_BRANDS:
        return "HEIC, which is not read; save the image as JPEG or PNG"
    for name in FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None or accept is None or not (accepted := accept(content[:16])):
            continue
        if isinstance(accepted, str):
            return f"{name}, which this Pillow was built without"
        try:
            factory(io.BytesIO(content), "")
        except Exception as error:
            reason = str(error) if isinstance(error, SAYING) else "its header is damaged"
            return f"{name} of a kind that is not read, or damaged ({reason})"
    return f"not an image in a known format ({', '.join(FORMATS)})"


def bits(image: Image.Image, content: bytes) -> int:
    """Bits of an opened image's deepest channel, as its file stores it.

    Numbers that are no unsigned integers count as 32.
    """
    if image.mode[0] in "IF":
        return 32 if image.mode in ("I", "F") else 16
    measure = BITS.get(image.format or "")
    return 8 if measure is None else measure(image, content)


def _png_bits(image: Image.Image, content: bytes) -> int:
    return content[content.find(b"IHDR") + 12]


def _ppm_bits(image: Image.Image, content: bytes) -> int:
    if content[:2] not in (b"P2", b"P3", b"P5", b"P6"):
        return 8
    header = re.sub(rb"#[^\r\n]*", b" ", content[2:10_000]).split(None, 3)
    highest = re.match(rb"\d+", header[2]) if len(header) > 2 else None
    return int(highest[0]).bit_length() if highest else 8


def _tiff_bits(image: Image.Image, content: bytes) -> int:
    if any(kind not in UNSIGNED for kind in tiff_tag(image, SAMPLE_FORMAT)):
        return 32
    return max(tiff_tag(image, BITS_PER_SAMPLE), default=1)


def tiff_tag(image: Image.Image, number: int) -> tuple[int, ...]:
    """Whole numbers of a TIFF's tag; none where it has no such tag, or another format."""
    value = getattr(image, "tag_v2", {}).get(number, ())
    values = value if isinstance(value, tuple) else (value,)
    return tuple(item for item in values if isinstance(item, int))


def _avif_bits(image: Image.Image, content: bytes) -> int:
    """Look into the configuration of each AV1 item, which lies before the data."""
    end = content.find(b"mdat")
    flags = [box[2] for box in content[: end if end > 0 else None].split(b"av1C")[1:] if box[2:]]
    return max((_AV1_BITS[flag >> 5 & 3] for flag in flags), default=8)


_AV1_BITS = (8, 8, 10, 12)  # by the flags high_bitdepth and twelve_bit


def _jpeg2000_bits(image: Image.Image, content: bytes) -> int:
    start = content.find(b"\xff\x4f\xff\x51")
    header = content[start + 40 :] if start >= 0 else b""
    if len(header) < 2:
        return 8
    (channels,) = struct.unpack(">H", header[:2])
    depths = header[2 : 2 + 3 * channels : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=8)


BITS: Mapping[str, Callable[[Image.Image, bytes], int]] = MappingProxyType({
    "PNG": _png_bits,
    "PPM": _ppm_bits,
    "TIFF": _tiff_bits,
    "AVIF": _avif_bits,
    "JPEG2000": _jpeg2000_bits,
})  # fmt: skip
