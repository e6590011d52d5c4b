"""From a source to a folder of prepared arrays, a batch at a time; see :mod:`crest.data.files`.

Arrays are appended to their files rather than mapped into memory: a full disk is then an error
with a message, where a mapped page that cannot be written ends the process.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from crest.data.decoding import Square
from crest.data.files import SCHEMA_VERSIONS, ImageMeta, Meta, write_meta
from crest.data.image_files import EncodedWriter, PixelWriter, Writer
from crest.data.images import Block, ImageDecoder
from crest.data.keeping import keep
from crest.data.labels import Encoded, encode_labels
from crest.data.oddities import Oddities
from crest.data.origins import encodable
from crest.data.places import write_sources
from crest.data.sources import Example, Measured, Pixels, Reader, Source
from crest.data.splits import (
    BLOCK_BYTES,
    Advance,
    Rows,
    divide,
    each_split,
    write_labels,
)
from crest.data.tokens import build_text
from crest.data.verifying import with_hashes
from crest.devices.machine import readable, require_disk
from crest.errors import ParameterError
from crest.parameters.sections import PrepareParameters

ENCODED_FROM = 128  # pixels a side from which on images are stored encoded where nothing is set
MUCH = 4  # times the bytes of pixels that files take before a note says so


def build(source: Source[Any], params: PrepareParameters, folder: Path, advance: Advance) -> Meta:
    """Write everything of ``data/prepared`` into an empty folder, as its kind of data is written.

    Parameters, and what is raised: see :func:`build_images` and
    :func:`crest.data.tokens.build_text`.
    """
    return BUILDERS[source.kind](source, params, folder, advance)


def build_images(
    source: Source[Reader], params: PrepareParameters, folder: Path, advance: Advance
) -> ImageMeta:
    """Write everything of ``data/prepared`` into an empty folder.

    The result depends on the source and the parameters, not on the number of workers.

    Parameters
    ----------
    advance
        Told how many examples of all splits are done.

    Raises
    ------
    DataError
        If a label or an image cannot be used; the message names its file and row.
    ParameterError
        If the classes, or a share that is held out, do not fit the data.
    """
    labels = encode_labels(source, params.classes)
    division = divide(labels, params)
    oddities = Oddities()
    with ImageDecoder(source.train, _square(params), params.workers) as decoder:
        storage = storage_of(params, decoder.is_compressed)
        if storage == "encoded":
            if decoder.is_kept and params.encoded_side is None:
                _check_room_for_files(source, decoder.shape, folder)
            decoder.keep_bytes(partial(keep, most=params.encoded_side))
        else:
            _check_room(source, params, decoder.shape, folder)
        histogram = Histogram(decoder.shape[-1])
        size = 0
        for name, reader, advance_split in each_split(source, advance):
            parts = division.parts[name]
            with ExitStack() as stack:
                writers = _writers(stack, storage, parts, decoder.shape, folder)
                for start, some, block in _blocks(reader, decoder, advance_split):
                    oddities.see(name, reader, start, some, block.pixels)
                    size += sum(map(_compressed_bytes, some))
                    _write(block, start, parts, writers, histogram)
    sizes = write_labels(labels, division, folder)
    statistics = histogram.statistics()
    notes = [
        *(*source.notes, *labels.notes, *division.notes, *decoder.notes()),
        *_storage_notes(params, storage, sizes, decoder.shape, size, folder),
        *oddities.notes(source, labels, division, statistics[1]),
    ]
    write_sources(source, division, folder)
    meta = _describe(params, labels, sizes, decoder.shape, statistics, notes, folder, storage)
    write_meta(folder, meta)
    return meta


def storage_of(params: PrepareParameters, is_compressed: bool) -> str:
    """Return how images are stored.

    Raises
    ------
    ParameterError
        If a parameter asks for what cannot be.
    """
    size, most = params.image_size, params.encoded_side
    if params.storage == "encoded" and not is_compressed:
        raise ParameterError(
            "prepare.storage: the data set holds pixels, not files of images that could be kept; "
            "leave it null"
        )
    encoded = params.storage == "encoded" or (
        params.storage is None and is_compressed and size is not None and size >= ENCODED_FROM
    )
    if most is not None and not encoded:
        raise ParameterError(
            "prepare.encoded_side: only encoded storage has a use for it; set prepare.storage to "
            "encoded, or leave it null"
        )
    if most is not None and (size is None or most < size):
        raise ParameterError(
            f"prepare.encoded_side: {most} is less than what prepare.image_size asks for "
            f"({'all there is' if size is None else size}); set image_size to {most} or less, or "
            "leave encoded_side null"
        )
    return "encoded" if encoded else "pixels"


class Histogram:
    """Counts the values of each channel of the images that it is shown."""

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((channels, 256), dtype=np.int64)

    def add(self, images: Pixels) -> None:
        """Count images, uint8, k×H×W×C."""
        for channel in range(len(self._counts)):
            self._counts[channel] += np.bincount(images[..., channel].ravel(), minlength=256)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, exactly, on the scale 0 to 1.

        The deviation of a constant channel is given as 1, so that normalising divides by it safely.
        """
        values = np.arange(256) / 255
        share = self._counts / self._counts.sum(axis=1, keepdims=True)
        mean = share @ values
        std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
        return mean.tolist(), np.where(std > 0, std, 1.0).tolist()


def _square(params: PrepareParameters) -> Square | None:
    if params.image_size is None:
        return None
    return Square(params.image_size, squeeze=params.fit == "squeeze")


def _writers(
    stack: ExitStack, storage: str, parts: Iterable[str], shape: tuple[int, ...], folder: Path
) -> dict[str, Writer]:
    """Open the files of some prepared splits."""
    if storage == "encoded":
        return {name: stack.enter_context(EncodedWriter(folder, name)) for name in parts}
    return {name: stack.enter_context(PixelWriter(folder, name, shape)) for name in parts}


def _blocks(
    reader: Reader, decoder: ImageDecoder, advance: Advance
) -> Iterator[tuple[int, Sequence[Example], Block]]:
    """Yield a split in pieces: the first row, the examples, and what they are decoded to."""
    start = 0
    at_once = max(1, BLOCK_BYTES // math.prod(decoder.shape))
    for examples in reader.examples():
        for first in range(0, len(examples), at_once):
            some = examples[first : first + at_once]
            yield start, some, decoder.decode(some, reader, start)
            start += len(some)
            advance(start)


def _write(
    block: Block,
    start: int,
    parts: Mapping[str, Rows],
    writers: Mapping[str, Writer],
    histogram: Histogram,
) -> None:
    """Give each prepared split the rows of a block that its mask names."""
    for name, rows in parts.items():
        chosen = rows[start : start + len(block.pixels)]
        writers[name].append(block, chosen)
        if name == "train":
            histogram.add(block.pixels[chosen])


def _compressed_bytes(example: Example) -> int:
    return len(example) if isinstance(example, bytes) else 0


def _storage_notes(
    params: PrepareParameters,
    storage: str,
    sizes: Mapping[str, int],
    shape: tuple[int, ...],
    own: int,
    folder: Path,
) -> Iterator[str]:
    """Say what the images take, and what they would take the other way; ``own``: as files."""
    if params.image_size is None and storage == "pixels":
        return
    if not own:
        return
    pixels = sum(sizes.values()) * math.prod(shape)
    if storage == "pixels":
        yield (
            f"stored as pixels: {readable(pixels)}; their own files take {readable(own)} "
            "(prepare.storage: encoded)"
        )
        return
    kept = sum((folder / f"{split}_bytes.npy").stat().st_size for split in sizes)
    yield (
        f"stored encoded, and decoded when used: {readable(kept)}; as pixels they would take "
        f"{readable(pixels)} (prepare.storage: pixels)"
    )
    if params.encoded_side is None and kept > MUCH * pixels:
        yield (
            f"the files are large for images of {shape[1]}×{shape[0]} pixels, and slow to decode: "
            f"prepare.encoded_side={2 * min(shape[:2])} would keep them smaller"
        )


def _check_room(
    source: Source[Reader], params: PrepareParameters, shape: tuple[int, ...], folder: Path
) -> None:
    """Refuse what the disk has no room for before filling it."""
    count = sum(map(len, source.splits.values()))
    height, width, channels = shape
    what = f"{count:,} images of {width}×{height} pixels of {channels} channels"
    advice = "free some, or set prepare.image_size to fewer pixels a side"
    if params.image_size is not None:
        what = f"prepare.image_size: {what}"
        advice = "lower it, or free some"
    require_disk(folder, count * math.prod(shape), what, advice)


def _check_room_for_files(source: Source[Reader], shape: tuple[int, ...], folder: Path) -> None:
    """Refuse files that the disk has no room for, of splits that know their sizes."""
    splits = source.splits.values()
    taken = sum(split.image_bytes() or 0 for split in splits if isinstance(split, Measured))
    pixels = sum(map(len, splits)) * math.prod(shape)
    advice = "free some, or set prepare.encoded_side to keep large images smaller"
    if pixels < taken:
        advice += f", or prepare.storage to pixels, which take {readable(pixels)}"
    what = f"prepare.storage: the files of {sum(map(len, splits)):,} images"
    require_disk(folder, taken, what, advice)


def _describe(
    params: PrepareParameters,
    labels: Encoded,
    sizes: dict[str, int],
    shape: tuple[int, ...],
    statistics: tuple[list[float], list[float]],
    notes: Sequence[str],
    folder: Path,
    storage: str,
) -> ImageMeta:
    mean, std = statistics
    meta = ImageMeta(
        schema_version=SCHEMA_VERSIONS["image"],
        kind="image",
        dataset=params.dataset,
        source=params.source or "bundled",
        sizes=sizes,
        classes=labels.classes,
        image_shape=list(shape),
        mean=mean,
        std=std,
        content_hash="",
        notes=[encodable(line) for line in notes],
        storage=storage,
        fit=params.fit,
    )
    return with_hashes(folder, meta)


Builder = Callable[[Source[Any], PrepareParameters, Path, Advance], Meta]
BUILDERS: Mapping[str, Builder] = MappingProxyType({"image": build_images, "text": build_text})
