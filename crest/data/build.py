"""From a source to a folder of prepared arrays, a batch at a time; see :mod:`crest.data.files`.

Arrays are appended to their files rather than mapped into memory: a full disk is then an error
with a message, where a mapped page that cannot be written ends the process.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from crest.config import PrepareParameters
from crest.data.files import SCHEMA_VERSION, ImageMeta, Meta, open_array, write_meta
from crest.data.images import ImageDecoder
from crest.data.labels import Encoded, encode_labels
from crest.data.sources import Pixels, Reader, Source
from crest.data.splits import (
    BLOCK_BYTES,
    Advance,
    ArrayFile,
    Rows,
    content_hash,
    divide,
    each_split,
    write_labels,
)
from crest.data.tokens import build_text


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
    with ImageDecoder(source.train, params.image_size, params.workers) as decoder:
        for name, reader, told in each_split(source, advance):
            _write_images(reader, decoder, division.parts[name], folder, told)
    sizes = write_labels(labels, division, folder)
    notes = [*source.notes, *labels.notes, *division.notes]
    meta = _describe(params, labels, sizes, decoder.shape, notes, folder)
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
                block = decoder.decode(examples[first : first + at_once], reader, start)
                end = start + len(block)
                for name, rows in parts.items():
                    files[name].append(block[rows[start:end]])
                advance(end)
                start = end


def _describe(
    params: PrepareParameters,
    labels: Encoded,
    sizes: dict[str, int],
    shape: tuple[int, ...],
    notes: list[str],
    folder: Path,
) -> ImageMeta:
    mean, std = channel_statistics(open_array(folder, "train", "images"))
    return ImageMeta(
        schema_version=SCHEMA_VERSION,
        kind="image",
        dataset=params.dataset,
        source=params.source or "bundled",
        sizes=sizes,
        classes=labels.classes,
        image_shape=list(shape),
        mean=mean,
        std=std,
        content_hash=content_hash(folder),
        notes=notes,
    )


Builder = Callable[[Source[Any], PrepareParameters, Path, Advance], Meta]
BUILDERS: Mapping[str, Builder] = MappingProxyType({"image": build_images, "text": build_text})
