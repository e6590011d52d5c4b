"""Small images and sources for the tests of the data."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from crest.data.arrays import ArrayReader


@pytest.fixture(scope="session")
def encode():
    """Compress pixels losslessly, or as the format that is asked for."""

    def encoded(pixels, form="PNG", **options):
        stream = io.BytesIO()
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(stream, form, **options)
        return stream.getvalue()

    return encoded


@pytest.fixture(scope="session")
def pixels():
    """Random RGB pixels, N×8×6×3."""
    return np.random.default_rng(0).integers(0, 256, (24, 8, 6, 3), dtype=np.uint8)


@pytest.fixture
def write_source(tmp_path, encode, pixels):
    """A function that writes a small source in Parquet; each argument replaces a part of it."""

    def write(folder=tmp_path, train=None, test=None, metadata=None, names=("train", "test")):
        parts = {
            names[0]: {"image": [encode(image) for image in pixels], "label": [0, 1, 2] * 8},
            names[1]: {"image": [encode(image) for image in pixels[:6]], "label": [0, 1, 2] * 2},
        }
        folder.mkdir(parents=True, exist_ok=True)
        for (name, part), change in zip(parts.items(), (train, test), strict=True):
            frame = pl.DataFrame(part | (change or {}))
            frame.write_parquet(folder / f"{name}-00000-of-00001.parquet", metadata=metadata)
        return folder

    return write


@pytest.fixture
def reader():
    """A function that makes a split in memory from labels, with blank images if none are given."""

    def make(labels, images=None, name="split", batch=1000):
        values = np.asarray(labels)
        blank = np.zeros((len(values), 2, 2, 1), dtype=np.uint8)
        return ArrayReader(name, blank if images is None else images, values, batch)

    return make
