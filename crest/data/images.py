"""Images of any source as uint8 arrays of one shape, decoded in threads."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np
from PIL import Image

from crest.data.sources import Example, Pixels, Reader
from crest.errors import DataError

# Pillow also opens formats that start other programs; these do not.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "F"})
CHUNK = 32  # images a thread takes at once


def read_image(example: Example, side: int | None = None) -> Pixels:
    """Decode one image.

    Parameters
    ----------
    example
        A compressed image, which becomes RGB, or pixels, whose channels stay.
    side
        Pixels a side to resize to; the whole image is kept, its aspect is not. None: as it is.

    Returns
    -------
    ndarray
        uint8, H×W×C.

    Raises
    ------
    ValueError
        Its message says what is wrong with the image.
    """
    if example is None:
        raise ValueError("there is no image (null)")
    pixels = _decode(example) if isinstance(example, bytes) else example
    if 0 in pixels.shape:
        raise ValueError("the image has no pixels")
    return pixels if side is None else _resize(pixels, side)


def _decode(content: bytes) -> Pixels:
    if not content:
        raise ValueError("the image is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return np.asarray(_rgb(image))
    except Image.UnidentifiedImageError:
        raise ValueError(f"not an image in a known format ({', '.join(FORMATS)})") from None
    except Exception as error:
        # What Pillow raises for damaged images is of every kind: SyntaxError and struct.error too.
        raise ValueError(f"the image cannot be decoded ({error})") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in DEEP_MODES:
        # Pillow would clip the values at 255.
        raise ValueError(f"mode {image.mode}: more than 8 bits a channel; save it with 8")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGB":
        image.load()  # converting would copy it
        return image
    return image.convert("RGB")


def _resize(pixels: Pixels, side: int) -> Pixels:
    flat = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    resized = Image.fromarray(flat).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized).reshape(side, side, -1)


class ImageDecoder:
    """Decodes batches of images; all must have the shape of the first image of ``reader``.

    Parameters
    ----------
    reader
        The training split.
    side
        Pixels a side to resize to, or None.
    workers
        Threads, one a core if None. What is decoded does not depend on it.

    Raises
    ------
    DataError
        If that first image cannot be decoded; from :meth:`decode`, for the first bad image of the
        batch.
    """

    def __init__(self, reader: Reader, side: int | None, workers: int | None) -> None:
        self._side = side
        self._first = reader.example_at(0)
        self.shape = self._read(next(iter(reader.examples()))[0], reader, 0).shape
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)

    def __enter__(self) -> "ImageDecoder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def decode(self, examples: Sequence[Example], reader: Reader, start: int) -> Pixels:
        """Decode consecutive rows of ``reader`` from row ``start``: uint8, k×H×W×C."""
        block = np.empty((len(examples), *self.shape), dtype=np.uint8)

        def fill(first: int) -> None:
            for position in range(first, min(first + CHUNK, len(examples))):
                block[position] = self._checked(examples[position], reader, start + position)

        # Results come in the order of the rows, so the first bad row is the one that is reported.
        for _ in self._pool.map(fill, range(0, len(examples), CHUNK)):
            pass
        return block

    def _read(self, example: Example, reader: Reader, row: int) -> Pixels:
        try:
            return read_image(example, self._side)
        except ValueError as error:
            raise DataError(
                f"{reader.example_at(row)}: {error}; mend or remove the example"
            ) from None

    def _checked(self, example: Example, reader: Reader, row: int) -> Pixels:
        pixels = self._read(example, reader, row)
        if pixels.shape != self.shape:
            raise DataError(
                f"{reader.example_at(row)}: {_size(pixels.shape)}, but {self._first}: "
                f"{_size(self.shape)}; set prepare.image_size to make them one size"
            )
        return pixels


def _size(shape: Sequence[int]) -> str:
    height, width, channels = shape
    return f"{width}×{height} pixels of {channels} channel{'s' * (channels > 1)}"
