"""What preparing images and preparing text share: the splits, their arrays and labels, the hash.

A split that the source lacks is held out of train: first the test split, so that it does not
depend on the validation share, then the validation split out of what is left.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from crest.data.files import SPLITS
from crest.data.labels import Encoded, hold_out
from crest.data.sources import Labelled, Labels, Source
from crest.errors import ParameterError
from crest.parameters.sections import PrepareParameters

BLOCK_BYTES = 2**24
TEST_SHARE = 0.1  # of train, held out where there is no test split and prepare.test_share is null

Rows = NDArray[np.bool_]
Advance = Callable[[int], None]
Split = TypeVar("Split", bound=Labelled)


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


@dataclass(frozen=True, eq=False)
class Division:
    """Which rows of the source's splits go into which prepared splits.

    Parameters
    ----------
    parts
        For each split of the source: masks over its rows, by the prepared split that they go into.
    notes
        Lines for people.
    """

    parts: Mapping[str, Mapping[str, Rows]]
    notes: tuple[str, ...] = ()


def divide(labels: Encoded, params: PrepareParameters) -> Division:
    """Divide the source's rows among train, validation and test.

    Raises
    ------
    ParameterError
        If the share of the test or validation split does not fit the data.
    """
    train = labels.splits["train"]
    left = np.ones(len(train), dtype=bool)
    out: dict[str, Rows] = {}
    notes: list[str] = []
    if "test" not in labels.splits:
        out["test"] = _hold_out_test(train, params)
        left &= ~out["test"]
        share = params.test_share or TEST_SHARE
        because = "no test split: " if params.test_share is None else "test: "
        notes.append(f"{because}{100 * share:g}% of train held out (prepare.test_share)")
    if "validation" not in labels.splits:
        held = np.zeros(len(train), dtype=bool)
        held[left] = hold_out(train[left], params.validation, params.seed)
        if held.any():
            out["validation"] = held
            left &= ~held
    whole = {name: {name: np.ones(len(split), dtype=bool)} for name, split in labels.splits.items()}
    return Division(whole | {"train": {"train": left, **out}}, tuple(notes))


def _hold_out_test(labels: Labels, params: PrepareParameters) -> Rows:
    """Draw a test split: at least one of each class that has two examples."""
    if np.bincount(labels).max() < 2:
        raise ParameterError(
            "prepare.test_share: no class has two examples, of which one could be held out for "
            "test; name a test split with prepare.test_split"
        )
    share = params.test_share or TEST_SHARE
    return hold_out(labels, share, (params.seed, 1), "prepare.test_share", least=1)


def each_split(source: Source[Split], advance: Advance) -> Iterator[tuple[str, Split, Advance]]:
    """Yield each split of a source with its name, and what to tell of its own progress."""
    done = 0
    for name, reader in source.splits.items():
        yield name, reader, partial(_advance_from, advance, done)
        done += len(reader)


def _advance_from(advance: Advance, done: int, count: int) -> None:
    advance(done + count)


def write_labels(labels: Encoded, division: Division, folder: Path) -> dict[str, int]:
    """Write SPLIT_labels.npy for each prepared split; returns their sizes."""
    sizes: dict[str, int] = {}
    for name, parts in division.parts.items():
        for part, rows in parts.items():
            np.save(folder / f"{part}_labels.npy", labels.splits[name][rows])
            sizes[part] = int(rows.sum())
    return {split: sizes[split] for split in SPLITS if split in sizes}
