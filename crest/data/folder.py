"""Images in folders: SOURCE/SPLIT/CLASS/*.png, or SOURCE/CLASS/*.png and a share held out for test.

The classes are numbered in the order of their names as text. Images may lie at any depth below
their class; hidden files and folders are left out.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from crest.data.image_formats import KEPT_SUFFIXES, SUFFIXES
from crest.data.listing import (
    Identity,
    LeftOut,
    check_kind,
    entries,
    identity,
    images_below,
    is_folder,
    unreadable,
)
from crest.data.origins import encodable
from crest.data.sources import DatasetSpec, Example, Reader, Source, local_folder, refuse, some
from crest.data.split_names import TEST, TRAIN, VALIDATION, open_splits
from crest.devices.machine import memory, readable
from crest.errors import DataError
from crest.parameters.sections import PrepareParameters

BATCH_BYTES = 32 * 2**20
SPLITS = frozenset({*TRAIN, *TEST, *VALIDATION})
# What to do where a split's folder holds no classes.
INSTEAD = {
    "train_split": "leave prepare.train_split null where the source itself holds the classes",
    "test_split": "set prepare.test_share to hold out a share of train",
    "validation_split": "leave prepare.validation_split null",
}


@dataclass(frozen=True)
class FolderReader:
    """A split whose images are files; a label is the name of its class's folder."""

    files: tuple[Path, ...]
    class_names: tuple[str, ...]
    batch: int = 256

    def __len__(self) -> int:
        return len(self.files)

    def labels(self) -> pl.Series:
        """Names of the classes."""
        return pl.Series("class", self.class_names, dtype=pl.String)

    def examples(self) -> Iterator[Sequence[Example]]:
        """Contents of the files, fewer at once where they are long."""
        return contents_of(self.files, self.batch)

    def places(self) -> pl.DataFrame:
        """Return the paths."""
        return pl.DataFrame({"file": [encodable(str(file)) for file in self.files], "row": None})

    def image_bytes(self) -> int:
        """Add up the sizes of the files that are kept."""
        return bytes_of(self.files)

    def label_at(self, row: int) -> str:
        """Path of the image: its class is a part of it."""
        return str(self.files[row])

    def example_at(self, row: int) -> str:
        """Path of the image."""
        return str(self.files[row])


def open_folder(params: PrepareParameters) -> Source[Reader]:
    """Open SOURCE/train and SOURCE/test, the splits that the parameters name, or SOURCE's classes.

    Raises
    ------
    DataError
        If a folder is missing, a class has no images, or what looks like an image is no file.
    """
    columns = ("image_column", "label_column", "split_column")
    refuse(params, "image folders have no columns", *columns)
    root = local_folder(params.source)
    left_out = LeftOut()
    folders = _folders(root, left_out)
    if _is_flat(root, folders, params):
        source: Source[Reader] = Source(train=_open_classes(root, folders, left_out), test=None)
    else:
        splits = _Splits(root, folders, left_out)
        source = open_splits(params, folders, splits.open)
        left_out.folders += sorted({*folders} - SPLITS - {*splits.opened.values()})
    order = _order_notes(source.train.labels().unique().to_list())
    return replace(source, notes=(*source.notes, *left_out.notes(), *order))


@dataclass(frozen=True)
class _Splits:
    """The folders of a source's splits; ``opened`` are the names of those that were opened."""

    root: Path
    folders: Sequence[str]
    left_out: LeftOut
    opened: dict[Identity, str] = field(default_factory=dict)

    def open(self, split: str, key: str) -> FolderReader:
        """Open the split of a name; ``key`` is the parameter that sets it."""
        if split not in self.folders:
            raise DataError(
                f"{self.root}: no folder '{split}'; folders there: {some(self.folders)}; set "
                f"prepare.{key}"
            )
        folder = self.root / split
        own = identity(folder)
        if own in self.opened:
            raise DataError(
                f"{folder}: a link to '{self.opened[own]}', which is another split; remove it, or "
                f"set prepare.{key} to another"
            )
        self.opened[own] = split
        classes = _folders(folder, self.left_out)
        if not classes:
            raise DataError(
                f"{folder}: no folders in it; it needs one for each class, else {INSTEAD[key]}"
            )
        if key == "train_split" and len(classes) == 1:
            raise DataError(
                f"{folder}: one class only, '{classes[0]}'; it needs a folder for each class, two "
                "at least"
            )
        return _open_classes(folder, classes, self.left_out)


def _is_flat(root: Path, folders: Sequence[str], params: PrepareParameters) -> bool:
    """Whether a source's folders are classes, not splits.

    Raises
    ------
    DataError
        If they are neither, or look like splits of other names.
    """
    named = (params.train_split, params.test_split, params.validation_split)
    if not folders:
        raise DataError(f"{root}: no folders in it; it needs one for each class")
    if any(name is not None for name in named):
        return False
    splits = [name for name in folders if _resembles_a_split(root / name)]
    if SPLITS.intersection(splits):
        return False
    if splits:
        raise DataError(
            f"{root}: folders that look like splits ({some(splits)}), none of them 'train'; set "
            "prepare.train_split and prepare.test_split, or rename what are classes"
        )
    if len(folders) == 1:
        raise DataError(
            f"{root}: one folder only, '{folders[0]}'; set prepare.source to {root / folders[0]} "
            "if splits or classes are in there, or add a folder for a second class"
        )
    return True


def _resembles_a_split(folder: Path) -> bool:
    """Whether a folder is called like a split and holds folders, as splits do."""
    words = re.findall("[a-z]+", folder.name.lower())
    return not SPLITS.isdisjoint(words) and bool(_folders(folder, LeftOut()))


def _folders(folder: Path, left_out: LeftOut) -> list[str]:
    """Names of the folders within; files beside them are counted."""
    names = []
    for entry in entries(folder, left_out):
        if is_folder(entry):
            names.append(entry.name)
        else:
            left_out.count(entry.name, beside_classes=True)
    return names


def _open_classes(split: Path, classes: Sequence[str], left_out: LeftOut) -> FolderReader:
    known: dict[Identity, Path] = {identity(split): split}
    for name in classes:
        _check_name(split / name)
        own = identity(split / name)
        if own in known:
            raise DataError(
                f"{split / name}: a link to {known[own]}, which is listed anyway; remove one"
            )
        known[own] = split / name
    seen = {*known, *map(identity, split.resolve().parents)}
    files: list[Path] = []
    names: list[str] = []
    for name in classes:
        found = _images(split / name, split, seen, left_out)
        files += found
        names += [name] * len(found)
    return FolderReader(tuple(files), tuple(names))


def _check_name(folder: Path) -> None:
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{folder}: the name of this class is no UTF-8; rename the folder"
        ) from None


def _images(folder: Path, split: Path, seen: set[Identity], left_out: LeftOut) -> list[Path]:
    there = LeftOut()
    files = images_below(folder, split, seen, there)
    if not files:
        found = f"; found: {there}" if str(there) else ""
        raise DataError(
            f"{folder}: no images ({', '.join(sorted(SUFFIXES))}{found}); add some or remove the "
            "folder"
        )
    left_out.add(there)
    return files


def _order_notes(classes: Sequence[str]) -> Iterator[str]:
    """Say so where the classes are numbers and another order would be expected."""
    if not all(name.isascii() and name.isdigit() for name in classes):
        return
    found, expected = sorted(classes), sorted(sorted(classes), key=int)
    place = next((at for at, name in enumerate(found) if name != expected[at]), None)
    if place is not None:
        yield (
            "classes are numbered in the order of their names as text: "
            f"{place} is '{found[place]}', not '{expected[place]}'; names of one length, such as "
            "01, keep the order of the numbers"
        )


def contents_of(files: Sequence[Path], most: int = 256) -> Iterator[Sequence[Example]]:
    """Yield the contents of files, ``most`` at once and fewer where they are long.

    Raises
    ------
    DataError
        If one cannot be read.
    """
    contents: list[Example] = []
    size = 0
    for file in files:
        content = _content(file)
        contents.append(content)
        size += len(content)
        if len(contents) == most or size >= BATCH_BYTES:
            yield contents
            contents, size = [], 0
    if contents:
        yield contents


def bytes_of(files: Sequence[Path]) -> int:
    """Add up the sizes of those files whose bytes encoded storage keeps; what is gone is 0."""
    return sum(_size(file) for file in files if file.suffix.lower() in KEPT_SUFFIXES)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # reading it will say so


def _content(file: Path) -> bytes:
    """Read a file, unless it is none by now: a pipe would be waited for."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            found = os.fstat(opened.fileno())
            check_kind(file, found.st_mode)
            if found.st_size > memory() / 2:
                raise DataError(
                    f"{file}: {readable(found.st_size)}, more than half of the memory there is "
                    f"({readable(memory())}); make it smaller or cut it up"
                )
            return opened.read()
    except OSError as error:
        raise unreadable(file, error) from None


FOLDER = DatasetSpec(
    open=open_folder, sources="a folder holding CLASS/, or train/CLASS/ and test/CLASS/"
)
