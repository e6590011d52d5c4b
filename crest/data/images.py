"""Images of any source as uint8 arrays of one shape, decoded in threads."""

import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

import numpy as np

from crest.data.decoding import MAX_PIXELS, Decoded, Square, Trait, Whole, decode, read_image
from crest.data.keeping import LOSSLESS, SMALLER, Kept
from crest.data.sources import Example, Pixels, Reader
from crest.errors import DataError, needs_extra

with needs_extra("images"):
    from PIL import Image, PngImagePlugin

__all__ = ["ImageDecoder", "read_image"]

CHUNK = 32  # images a thread takes at once
MOST_WARNINGS = 5


# Returns the bytes to keep of a compressed image, decoded.
Keep = Callable[[bytes, Square | None], Kept]


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive images of a split.

    Attributes
    ----------
    pixels
        uint8, k×H×W×C.
    contents
        The bytes to keep of each and what they hold, where they were asked for.
    """

    pixels: Pixels
    contents: list[tuple[bytes, Whole]] = field(default_factory=list)


class ImageDecoder:
    """Decodes batches of images; all must have the shape of the first image of ``reader``.

    ``is_compressed`` says whether that one is a file's bytes, ``is_kept`` whether encoded storage
    keeps them as they are.

    A context manager: within, Pillow's own limits on an image's pixels and on its texts are
    lifted for those of :mod:`crest.data.decoding`, and what Pillow warns of is kept for
    :meth:`notes`.

    Parameters
    ----------
    reader
        The training split.
    square
        What to resize to, or None.
    workers
        Threads, one a core if None. What is decoded does not depend on it.

    Raises
    ------
    DataError
        If that first image cannot be decoded; from :meth:`decode`, for the first bad image of the
        batch.
    """

    def __init__(self, reader: Reader, square: Square | None, workers: int | None) -> None:
        self._square = square
        self._keep: Keep | None = None
        self._first = reader.example_at(0)
        # What was done to how many, and the first of them.
        self._done: dict[str, tuple[int, str]] = {}
        self._warnings: Counter[str] = Counter()
        self._counting = threading.Lock()
        with self._own_pillow():
            first = next(iter(reader.examples()))[0]
            decoded = self._read(first, reader, 0)
        self.shape = decoded.pixels.shape
        self.is_kept = decoded.whole is not None and decoded.whole.is_usual
        self.is_compressed = isinstance(first, bytes)
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

    def keep_bytes(self, keep: Keep) -> None:
        """Return from now on the bytes to keep of images too."""
        self._keep = keep

    def decode(self, examples: Sequence[Example], reader: Reader, start: int) -> Block:
        """Decode consecutive rows of ``reader`` from row ``start``."""
        block = Block(np.empty((len(examples), *self.shape), dtype=np.uint8))

        def fill(first: int) -> tuple[list[tuple[int, str]], list[tuple[bytes, Whole]]]:
            done: list[tuple[int, str]] = []
            contents = []
            for position in range(first, min(first + CHUNK, len(examples))):
                row = start + position
                kept = self._checked(examples[position], reader, row)
                block.pixels[position] = kept.decoded.pixels
                done += [(row, trait.value) for trait in kept.decoded.traits]
                done += [(row, kept.changed)] if kept.changed else []
                if kept.decoded.whole is not None:
                    contents.append((kept.content, kept.decoded.whole))
            return done, contents

        # Results come in the order of the rows, so the first bad row is the one that is reported.
        for done, contents in self._pool.map(fill, range(0, len(examples), CHUNK)):
            for row, what in done:
                count, first = self._done.get(what, (0, ""))
                self._done[what] = (count + 1, first or reader.example_at(row))
            if self._keep is not None:
                block.contents.extend(contents)
        return block

    def notes(self) -> Iterator[str]:
        """Say in lines what was done to images, or left undone, and what Pillow warned of."""
        for what in (*(trait.value for trait in Trait), LOSSLESS, SMALLER):
            if what in self._done:
                count, first = self._done[what]
                yield f"{images(count)} {what} (first: {first})"
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
        return self._kept(example, reader, row, None).decoded

    def _kept(self, example: Example, reader: Reader, row: int, keep: Keep | None) -> Kept:
        try:
            if keep is not None and isinstance(example, bytes) and example:
                return keep(example, self._square)
            return Kept(b"", decode(example, self._square))
        except ValueError as error:
            raise DataError(
                f"{reader.example_at(row)}: {error}; mend or remove the example"
            ) from None

    def _checked(self, example: Example, reader: Reader, row: int) -> Kept:
        kept = self._kept(example, reader, row, self._keep)
        shape = kept.decoded.pixels.shape
        if shape != self.shape:
            raise DataError(
                f"{reader.example_at(row)}: {_size(shape)}, but {self._first}: "
                f"{_size(self.shape)}; set prepare.image_size to make them one size"
            )
        return kept


def images(count: int) -> str:
    """Say how many images."""
    return f"{count} image{'s' * (count != 1)}"


def _size(shape: Sequence[int]) -> str:
    height, width, channels = shape
    return f"{width}×{height} pixels of {channels} channel{'s' * (channels > 1)}"
