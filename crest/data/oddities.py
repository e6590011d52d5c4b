"""What looks wrong about prepared images, gathered as they pass by, for a fraction of decoding."""

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from crest.data.images import images
from crest.data.labels import Encoded
from crest.data.sources import Example, Pixels, Reader, Source
from crest.data.splits import Division


class Oddities:
    """Counts images of one colour, sets of equal images, and examples that are there twice."""

    def __init__(self) -> None:
        self._first: Pixels | None = None
        self._differ = False
        self._flat = 0
        self._first_flat = ""
        self._hashes: dict[str, array[int]] = {}

    def see(
        self,
        split: str,
        reader: Reader,
        start: int,
        examples: Sequence[Example],
        block: Pixels,
    ) -> None:
        """Look at consecutive examples of a split of the source, and at their pixels."""
        hashes = self._hashes.setdefault(split, array("q"))
        hashes.extend(map(_hash, examples))
        if self._first is None:
            self._first = block[0].copy()
        self._differ = self._differ or bool((block != self._first).any())
        for row in _one_coloured(block):
            self._flat += 1
            self._first_flat = self._first_flat or reader.example_at(start + row)

    def notes(
        self, source: Source[Reader], labels: Encoded, division: Division, std: Sequence[float]
    ) -> Iterator[str]:
        """Say in lines what looks wrong.

        Parameters
        ----------
        std
            Of each channel of train, as :class:`crest.data.build.Histogram` gives it.
        """
        yield from self._warnings(std)
        hashes = {name: np.array(values) for name, values in self._hashes.items()}
        parts = {part: name for name, masks in division.parts.items() for part in masks}
        rows = {part: np.flatnonzero(division.parts[name][part]) for part, name in parts.items()}
        train = hashes["train"][rows["train"]]
        for part, name in parts.items():
            if part == "train":
                continue
            twice = np.flatnonzero(np.isin(hashes[name][rows[part]], train))
            if len(twice):
                first = source.splits[name].example_at(int(rows[part][twice[0]]))
                yield (
                    f"warning: {images(len(twice))} of {part} lie in train too, byte for byte "
                    f"(first: {first})"
                )
        torn = _several_labels(train, labels.train[rows["train"]])
        if len(torn):
            first = source.train.example_at(int(rows["train"][torn[0]]))
            yield (
                f"warning: {images(len(torn))} of train lie there several times with different "
                f"labels (first: {first})"
            )

    def _warnings(self, std: Sequence[float]) -> Iterator[str]:
        if not self._differ:
            yield "warning: all images are the same, pixel for pixel; check some before training"
        elif self._flat:
            verb = "is" if self._flat == 1 else "are"
            yield (
                f"warning: {images(self._flat)} {verb} of one colour throughout (first: "
                f"{self._first_flat})"
            )
        for channel, deviation in enumerate(std):
            if self._differ and deviation == 1:  # what stands for 0; a true one is 0.5 at most
                yield f"warning: channel {channel} (counted from 0) has one value in all of train"


def _hash(example: Example) -> int:
    return hash(example if isinstance(example, bytes) or example is None else example.tobytes())


def _one_coloured(block: Pixels) -> list[int]:
    """Return which images of a block, k×H×W×C, have one colour and more than one pixel."""
    height, width = block.shape[1:3]
    if height * width == 1:
        return []
    # Only what agrees in the corners and the middle is compared whole.
    points = [block[:, y, x] for y in (0, -1) for x in (0, -1)]
    points.append(block[:, height // 2, width // 2])
    candidates = np.flatnonzero((np.stack(points) == points[0]).all((0, 2)))
    return [int(row) for row in candidates if (block[row] == block[row, 0, 0]).all()]


def _several_labels(hashes: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return which rows share their content with a row of another label, in their order."""
    order = np.lexsort((labels, hashes))
    same = hashes[order][1:] == hashes[order][:-1]
    other = labels[order][1:] != labels[order][:-1]
    torn = np.unique(hashes[order][1:][same & other])
    return np.flatnonzero(np.isin(hashes, torn)) if len(torn) else np.empty(0, dtype=np.intp)
