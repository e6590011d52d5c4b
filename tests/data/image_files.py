"""Image files as other programs write them and Pillow does not: deep PNG and TIFF, odd headers."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's colour types


def png_chunk(kind, content):
    """One chunk of a PNG."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_file(rows, depth=8, colour=2, size=None, before=b"", after=b""):
    """A PNG whose rows of samples are given, packed as its depth asks, with further chunks."""
    rows = np.asarray(rows)
    height, samples = rows.shape
    width = samples // CHANNELS[colour]
    if depth == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    else:
        bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        packed = [np.packbits(row.ravel()).tobytes() for row in bits]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in packed))
    chunks = png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", data) + after
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def tiff_file(samples, bits, photometric, order="<", kind=None, extra=None, tags=()):
    """An uncompressed TIFF of one strip; ``samples`` is H×W×C of the type that is stored."""
    samples = np.asarray(samples)
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    content = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    entries = [
        (256, "H", [width]),
        (257, "H", [height]),
        (258, "H", [bits] * channels),
        (259, "H", [1]),
        (262, "H", [photometric]),
        (273, "I", [0]),
        (277, "H", [channels]),
        (278, "H", [height]),
        (279, "I", [len(content)]),
        *tags,
    ]
    if kind is not None:
        entries.append((339, "H", [kind] * channels))
    if extra is not None:
        entries.append((338, "H", extra))
    entries.sort()
    place = 8 + 2 + 12 * len(entries) + 4
    packed = [struct.pack(f"{order}{len(values)}{code}", *values) for _, code, values in entries]
    strip = place + sum(len(value) for value in packed if len(value) > 4)
    directory, beyond = b"", b""
    for (tag, code, values), value in zip(entries, packed, strict=True):
        if tag == 273:
            value = struct.pack(f"{order}I", strip)
        if len(value) > 4:
            beyond += value
            value = struct.pack(f"{order}I", place + len(beyond) - len(value))
        head = struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[code], len(values))
        directory += head + value.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(f"{order}IH", 8, len(entries))
    return mark + count + directory + bytes(4) + beyond + content


def bmp_file(pixels):
    """A BMP of 32 bits whose header names the masks of red, green, blue and alpha; H×W×4."""
    height, width = pixels.shape[:2]
    content = np.ascontiguousarray(pixels[::-1, :, [2, 1, 0, 3]]).tobytes()
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    fields = (56, width, height, 1, 32, 3, len(content), 2835, 2835, 0, 0)
    header = struct.pack("<IiiHHIIiiII", *fields) + masks
    return b"BM" + struct.pack("<IHHI", 14 + 56 + len(content), 0, 0, 14 + 56) + header + content


def exif(orientation):
    """EXIF data that hold an orientation."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def written(image, form, **options):
    """An image as Pillow writes it; saving leaves traces in the image itself."""
    stream = io.BytesIO()
    image.copy().save(stream, form, **options)
    return stream.getvalue()


def photograph(width=45, height=31, seed=0):
    """A smooth image with some noise over it."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    noise = random.integers(-9, 10, smooth.shape)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))
