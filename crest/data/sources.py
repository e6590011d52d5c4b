"""What a source of data is: readers of its splits, and the description of a data set."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

# An example as its source holds it: a compressed image, or H×W×C pixels; None where it has none.
Example = bytes | Pixels | None


class Labelled(Protocol):
    """The labels of one split of a source."""

    def __len__(self) -> int: ...

    def labels(self) -> pl.Series:
        """Return the label of every row as the source has it: integers or strings."""
        ...

    def label_at(self, row: int) -> str:
        """Name the place of a label, for messages."""
        ...


class Reader(Labelled, Protocol):
    """One split of images: all labels at once, the examples in batches of consecutive rows."""

    def examples(self) -> Iterator[Sequence[Example]]:
        """Yield all rows in order, a batch at a time; never holds more than one batch."""
        ...

    def example_at(self, row: int) -> str:
        """Name the place of an example, for messages."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A split that knows what its images take before they are read."""

    def image_bytes(self) -> int | None:
        """About the bytes that encoded storage will keep; None where only reading tells."""
        ...


Split = TypeVar("Split", bound=Labelled, covariant=True)


@dataclass(frozen=True)
class Source(Generic[Split]):
    """The opened splits of a data set.

    Parameters
    ----------
    train, test, validation
        Readers of what the data set's kind of examples is. Where there is no test or validation
        split, a share of train is held out for it (:func:`crest.data.splits.divide`).
    class_names
        What the source itself calls the classes, in the order of their numbers, if it does.
    expected
        What the data set's :class:`DatasetSpec` says of its classes.
    kind
        What it says an example is.
    notes
        What people are to know of what was found, a line each: what was left out, taken for
        something else, or looks wrong.
    spare
        Names a validation split that is there and was not opened, if there is one.
    """

    train: Split
    test: Split | None
    class_names: tuple[str, ...] | None = None
    expected: tuple[str, ...] | int | None = None
    kind: str = "image"
    validation: Split | None = None
    notes: tuple[str, ...] = ()
    spare: Callable[[], str | None] = lambda: None

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that are there, by their names: train first."""
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in named.items() if split is not None}


@dataclass(frozen=True)
class DatasetSpec:
    """A data set that `prepare` knows.

    Parameters
    ----------
    open
        Opens the splits that the parameters name.
    sources
        What prepare.source may be, for messages; None if the data is bundled.
    classes
        The classes' names in the order of their numbers, or just how many; None if unknown.
    kind
        What an example is, ``image`` or ``text``: each is prepared in its own way.
    """

    open: Callable[[PrepareParameters], Source[Any]]
    sources: str | None = None
    classes: tuple[str, ...] | int | None = None
    kind: str = "image"


# Parameters of how a source is laid out, which a source of one fixed layout has no use for.
LAYOUT_KEYS = (
    "image_column",
    "label_column",
    "split_column",
    "train_split",
    "test_split",
    "validation_split",
    "test_share",
)


def refuse(params: PrepareParameters, reason: str, *keys: str) -> None:
    """Raise :class:`ParameterError` if one of ``keys`` is set: it would be ignored."""
    for key in keys:
        if getattr(params, key) is not None:
            raise ParameterError(f"prepare.{key}: {reason}; leave it null")


def local_folder(source: str | None) -> Path:
    """Path of a source on this machine.

    Raises
    ------
    ParameterError
        If the source is an address.
    DataError
        If there is no such folder.
    """
    text = str(source)
    if "://" in text or text.partition(":")[0] == "torchvision":
        raise ParameterError(
            f"prepare.source: {text}: this data set cannot be read from there; name a folder"
        )
    try:
        folder = Path(text).expanduser()
        if folder.is_dir():
            return folder
        wrong = "is a file, not a folder" if folder.exists() else "no such folder"
    except (OSError, RuntimeError) as error:  # a name that is too long, or of nobody's home
        reason = getattr(error, "strerror", None) or error
        wrong = f"cannot be a folder ({reason})"
    raise DataError(f"{text}: {wrong}; set prepare.source to the folder of the data")


def local_file(source: str | None, endings: Sequence[str]) -> Path:
    """Path of a source that is a file on this machine.

    Raises
    ------
    ParameterError
        If the source is an address, or its name ends in none of ``endings``.
    DataError
        If there is no such file.
    """
    text = str(source)
    if "://" in text:
        raise ParameterError(
            f"prepare.source: {text}: this data set cannot be read from there; name a file"
        )
    try:
        file = Path(text).expanduser()
        if file.is_file() and not file.name.lower().endswith(tuple(endings)):
            raise ParameterError(
                f"prepare.source: {text}: the name of the list must end in {', '.join(endings)}"
            )
        if file.is_file():
            return file
        wrong = "is a folder, not a file" if file.is_dir() else "no such file"
    except (OSError, RuntimeError) as error:  # a name that is too long, or of nobody's home
        reason = getattr(error, "strerror", None) or error
        wrong = f"cannot be a file ({reason})"
    raise DataError(f"{text}: {wrong}; set prepare.source to the file that lists the images")


def some(names: Sequence[Any], most: int = 10) -> str:
    """List names in a message without flooding it."""
    listed = ", ".join(str(name) for name in names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed or "none"
