"""What preparing images and preparing text share: the splits, their arrays and labels, the hash."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from crest.config import PrepareParameters
from crest.data.labels import Encoded, hold_out

BLOCK_BYTES = 2**24

Rows = NDArray[np.bool_]
Advance = Callable[[int], None]


class ArrayFile:
    """A .npy file written from its first row to its last; a context manager.

    Parameters
    ----------
    shape
        Of a row; how many rows there are shows at the end.
    """

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self._rows = 0
        self._file = path.open("wb")
        self._write_header()

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                # NumPy leaves room in the header for any length, so that it can be written again.
                self._file.seek(0)
                self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows at the end."""
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        self._rows += len(rows)

    def _write_header(self) -> None:
        shape = (self._rows, *self._shape)
        description = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": description, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


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
