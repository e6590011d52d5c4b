"""From a source to a folder of prepared arrays, a batch at a time; see :mod:`crest.data.files`.

Arrays are appended to their files rather than mapped into memory: a full disk is then an error
with a message, where a mapped page that cannot be written ends the process.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from crest.data.files import SCHEMA_VERSIONS, ImageMeta, Meta, open_array, write_meta
from crest.data.images import ImageDecoder
from crest.data.labels import Encoded, encode_labels
from crest.data.oddities import Oddities
from crest.data.sources import Example, Pixels, Reader, Source
from crest.data.splits import (
    BLOCK_BYTES,
    Advance,
    ArrayFile,
    Rows,
    divide,
    each_split,
    write_labels,
)
from crest.data.tokens import build_text
from crest.data.verifying import content_hash
from crest.devices.machine import require_disk
from crest.parameters.sections import PrepareParameters

See = Callable[[int, Sequence[Example], Pixels], None]


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
    with ImageDecoder(source.train, params.image_size, params.workers) as decoder:
        _check_room(source, params, decoder.shape, folder)
        for name, reader, advance_split in each_split(source, advance):
            see = partial(oddities.see, name, reader)
            _write_images(reader, decoder, division.parts[name], folder, see, advance_split)
    sizes = write_labels(labels, division, folder)
    statistics = channel_statistics(open_array(folder, "train", "images"))
    notes = [
        *(*source.notes, *labels.notes, *division.notes, *decoder.notes()),
        *oddities.notes(source, labels, division, statistics[1]),
    ]
    meta = _describe(params, labels, sizes, decoder.shape, statistics, notes, folder)
    write_meta(folder, meta)
    return meta


def channel_statistics(images: Pixels) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, exactly, from a histogram of its 256 values.

    Parameters
    ----------
    images
        uint8, N×H×W×C, mapped or in memory.

    Returns
    -------
    tuple
        Means and deviations on the scale 0 to 1. The deviation of a constant channel is given as
        1, so that normalising divides by it safely.
    """
    channels = images.shape[-1]
    histogram = np.zeros((channels, 256), dtype=np.int64)
    step = max(1, BLOCK_BYTES // images[0].nbytes)
    for start in range(0, len(images), step):
        block = images[start : start + step]
        for channel in range(channels):
            histogram[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    share = histogram / histogram.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return mean.tolist(), np.where(std > 0, std, 1.0).tolist()


def _write_images(
    reader: Reader,
    decoder: ImageDecoder,
    parts: Mapping[str, Rows],
    folder: Path,
    see: See,
    advance: Advance,
) -> None:
    """Decode a split into SPLIT_images.npy for each part, which holds the rows its mask names."""
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(
                ArrayFile(folder / f"{name}_images.npy", np.uint8, decoder.shape)
            )
            for name in parts
        }
        start = 0
        at_once = max(1, BLOCK_BYTES // math.prod(decoder.shape))
        for examples in reader.examples():
            for first in range(0, len(examples), at_once):
                some = examples[first : first + at_once]
                block = decoder.decode(some, reader, start)
                see(start, some, block)
                end = start + len(block)
                for name, rows in parts.items():
                    files[name].append(block[rows[start:end]])
                advance(end)
                start = end


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


def _encodable(text: str) -> str:
    """Return a text that can be written as UTF-8: names of files may hold other bytes."""
    return text.encode(errors="backslashreplace").decode()


def _describe(
    params: PrepareParameters,
    labels: Encoded,
    sizes: dict[str, int],
    shape: tuple[int, ...],
    statistics: tuple[list[float], list[float]],
    notes: Sequence[str],
    folder: Path,
) -> ImageMeta:
    mean, std = statistics
    return ImageMeta(
        schema_version=SCHEMA_VERSIONS["image"],
        kind="image",
        dataset=params.dataset,
        source=params.source or "bundled",
        sizes=sizes,
        classes=labels.classes,
        image_shape=list(shape),
        mean=mean,
        std=std,
        content_hash=content_hash(folder),
        notes=[_encodable(line) for line in notes],
    )


Builder = Callable[[Source[Any], PrepareParameters, Path, Advance], Meta]
BUILDERS: Mapping[str, Builder] = MappingProxyType({"image": build_images, "text": build_text})
