"""The arrays that hold the images of a split, written a block at a time."""

from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from crest.data.images import Block
from crest.data.splits import ArrayFile, Rows


class Writer(Protocol):
    """Writes the images of one split; a context manager."""

    def append(self, block: Block, rows: Rows) -> None:
        """Add those images of a block that a mask names."""
        ...


class PixelWriter:
    """Writes SPLIT_images.npy; ``shape`` is that of an image."""

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...]) -> None:
        self._images = ArrayFile(folder / f"{name}_images.npy", np.uint8, shape)

    def __enter__(self) -> "PixelWriter":
        self._images.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._images.__exit__(kind, error, trace)

    def append(self, block: Block, rows: Rows) -> None:
        """Add those images of a block that a mask names."""
        self._images.append(block.pixels[rows])


class EncodedWriter:
    """Writes SPLIT_bytes.npy, SPLIT_offsets.npy and SPLIT_shapes.npy."""

    def __init__(self, folder: Path, name: str) -> None:
        self._bytes = ArrayFile(folder / f"{name}_bytes.npy", np.uint8)
        self._offsets = ArrayFile(folder / f"{name}_offsets.npy", np.int64)
        self._shapes = ArrayFile(folder / f"{name}_shapes.npy", np.int32, (3,))
        self._end = 0

    def __enter__(self) -> "EncodedWriter":
        self._offsets.append(np.zeros(1, dtype=np.int64))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self._bytes, self._offsets, self._shapes):
            file.__exit__(kind, error, trace)

    def append(self, block: Block, rows: Rows) -> None:
        """Add those images of a block that a mask names."""
        chosen = [block.contents[row] for row in np.flatnonzero(rows)]
        for content, _ in chosen:
            self._bytes.append(np.frombuffer(content, dtype=np.uint8))
        lengths = np.array([len(content) for content, _ in chosen], dtype=np.int64)
        self._offsets.append(self._end + np.cumsum(lengths))
        self._end += int(lengths.sum())
        shapes = [(whole.height, whole.width, whole.is_plain) for _, whole in chosen]
        self._shapes.append(np.array(shapes, dtype=np.int32).reshape(-1, 3))
