"""Images in folders: SOURCE/SPLIT/CLASS/*.png, the classes numbered by their names' order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from crest.config import PrepareParameters
from crest.data.sources import DatasetSpec, Example, Reader, Source, local_folder, refuse, some
from crest.data.split_names import open_splits
from crest.errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


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
        """Contents of the files."""
        for start in range(0, len(self), self.batch):
            yield [_content(file) for file in self.files[start : start + self.batch]]

    def label_at(self, row: int) -> str:
        """Path of the image: its class is a part of it."""
        return str(self.files[row])

    def example_at(self, row: int) -> str:
        """Path of the image."""
        return str(self.files[row])


def open_folder(params: PrepareParameters) -> Source[Reader]:
    """Open SOURCE/train and SOURCE/test, or the splits that the parameters name.

    Raises
    ------
    DataError
        If a folder is missing or a class has no images.
    """
    refuse(params, "image folders have no columns", "image_column", "label_column")
    root = local_folder(params.source)
    return open_splits(
        params,
        _folders(root),
        lambda split, key: _open_split(root, split, key),
    )


def _open_split(root: Path, split: str, key: str) -> FolderReader:
    folders = _folders(root)
    if split not in folders:
        raise DataError(
            f"{root}: no folder '{split}'; folders there: {some(folders)}; set prepare.{key}"
        )
    files: list[Path] = []
    names: list[str] = []
    for name in _folders(root / split):
        found = _images(root / split / name)
        files += found
        names += [name] * len(found)
    if not files:
        raise DataError(f"{root / split}: no folders in it; it needs one for each class")
    return FolderReader(tuple(files), tuple(names))


def _folders(folder: Path) -> list[str]:
    """Names of the folders within, hidden ones left out."""
    try:
        found = [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}; mend it") from None
    return sorted(name for name in found if not name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """List the images of a class, at any depth, in the order of their paths."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(
            f"{folder}: no images ({', '.join(sorted(SUFFIXES))}); add some or remove the folder"
        )
    return files


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; mend or remove it") from None


FOLDER = DatasetSpec(open=open_folder, sources="a folder holding train/CLASS/ and test/CLASS/")
