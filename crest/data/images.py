"""Images of any source as uint8 arrays of one shape, decoded in threads."""

import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TextIO

import numpy as np

from crest.data.decoding import MAX_PIXELS, Decoded, Trait, decode, read_image
from crest.data.sources import Example, Pixels, Reader
from crest.errors import DataError, needs_extra

with needs_extra("images"):
    from PIL import Image, PngImagePlugin

__all__ = ["ImageDecoder", "read_image"]

CHUNK = 32  # images a thread takes at once
MOST_WARNINGS = 5


class ImageDecoder:
    """Decodes batches of images; all must have the shape of the first image of ``reader``.

    A context manager: within, Pillow's own limits on an image's pixels and on its texts are
    lifted for those of :mod:`crest.data.decoding`, and what Pillow warns of is kept for
    :meth:`notes`.

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
        self._traits: dict[Trait, tuple[int, str]] = {}  # how many have it, and which is first
        self._warnings: Counter[str] = Counter()
        self._counting = threading.Lock()
        with self._own_pillow():
            first = next(iter(reader.examples()))[0]
            self.shape = self._read(first, reader, 0).pixels.shape
        self._warnings.clear()
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        self._stack = ExitStack()

    def __enter__(self) -> "ImageDecoder":
        self._stack.enter_context(self._own_pillow())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._stack.close()

    def decode(self, examples: Sequence[Example], reader: Reader, start: int) -> Pixels:
        """Decode consecutive rows of ``reader`` from row ``start``: uint8, k×H×W×C."""
        block = np.empty((len(examples), *self.shape), dtype=np.uint8)

        def fill(first: int) -> list[tuple[int, Trait]]:
            found = []
            for position in range(first, min(first + CHUNK, len(examples))):
                decoded = self._checked(examples[position], reader, start + position)
                block[position] = decoded.pixels
                found += [(start + position, trait) for trait in decoded.traits]
            return found

        # Results come in the order of the rows, so the first bad row is the one that is reported.
        for found in self._pool.map(fill, range(0, len(examples), CHUNK)):
            for row, trait in found:
                count, first = self._traits.get(trait, (0, ""))
                self._traits[trait] = (count + 1, first or reader.example_at(row))
        return block

    def notes(self) -> Iterator[str]:
        """Say in lines what was done to images, or left undone, and what Pillow warned of."""
        for trait in Trait:
            if trait in self._traits:
                count, first = self._traits[trait]
                yield f"{images(count)} {trait.value} (first: {first})"
        for text in sorted(self._warnings)[:MOST_WARNINGS]:
            yield f"Pillow warned: {text} ({self._warnings[text]} times)"
        if len(self._warnings) > MOST_WARNINGS:
            yield f"Pillow warned of {len(self._warnings) - MOST_WARNINGS} things more"

    @contextmanager
    def _own_pillow(self) -> Iterator[None]:
        limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
        with warnings.catch_warnings():
            show = warnings.showwarning

            def keep(
                message: Warning | str,
                category: type[Warning],
                filename: str,
                lineno: int,
                file: TextIO | None = None,
                line: str | None = None,
            ) -> None:
                if "PIL" not in filename:
                    show(message, category, filename, lineno, file, line)
                elif not issubclass(category, Image.DecompressionBombWarning):
                    with self._counting:
                        self._warnings[str(message)] += 1

            warnings.filterwarnings("always", module=r"PIL\b")
            warnings.showwarning = keep
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS
            # A profile or a program's notes of more than a megabyte are no reason to refuse pixels.
            PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
            try:
                yield
            finally:
                Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = limits

    def _read(self, example: Example, reader: Reader, row: int) -> Decoded:
        try:
            return decode(example, self._side)
        except ValueError as error:
            raise DataError(
                f"{reader.example_at(row)}: {error}; mend or remove the example"
            ) from None

    def _checked(self, example: Example, reader: Reader, row: int) -> Decoded:
        decoded = self._read(example, reader, row)
        if decoded.pixels.shape != self.shape:
            raise DataError(
                f"{reader.example_at(row)}: {_size(decoded.pixels.shape)}, but {self._first}: "
                f"{_size(self.shape)}; set prepare.image_size to make them one size"
            )
        return decoded


def images(count: int) -> str:
    """Say how many images."""
    return f"{count} image{'s' * (count != 1)}"


def _size(shape: Sequence[int]) -> str:
    height, width, channels = shape
    return f"{width}×{height} pixels of {channels} channel{'s' * (channels > 1)}"
