"""What preparing images and preparing text share: the splits, their labels and the hash of both."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crest.config import PrepareParameters
from crest.data.labels import Encoded, hold_out

BLOCK_BYTES = 2**24

Rows = NDArray[np.bool_]
Advance = Callable[[int], None]


def split_rows(
    labels: Encoded, params: PrepareParameters
) -> tuple[dict[str, Rows], dict[str, Rows]]:
    """Return which rows of the source's train and test go into which split, as masks.

    Raises
    ------
    ParameterError
        If the validation share does not fit the data.
    """
    held = hold_out(labels.train, params.validation, params.seed)
    train = {"train": ~held, "validation": held} if held.any() else {"train": ~held}
    return train, {"test": np.ones(len(labels.test), dtype=bool)}


def write_labels(labels: Encoded, parts: Mapping[str, Rows], folder: Path) -> dict[str, int]:
    """Write SPLIT_labels.npy for each part; returns their sizes."""
    for name, rows in parts.items():
        split = labels.test if name == "test" else labels.train
        np.save(folder / f"{name}_labels.npy", split[rows])
    return {name: int(rows.sum()) for name, rows in parts.items()}


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of all arrays of a folder, in the order of the names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.npy")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()
