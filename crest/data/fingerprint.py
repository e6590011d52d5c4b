"""What inputs hold, identified by names and contents of their files, whoever opens them.

A pipeline asks for it before it decides what to run: data that were prepared from other contents
are not those of the source. Dates do not count, nor do files that a data set would not read.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crest.data.datasets import find_dataset, open_source
from crest.data.hashes import Hashes, tree_digest
from crest.data.listed import LISTS, ListedReader
from crest.data.sources import local_file, local_folder
from crest.data.split_files import REMOTE, check_address
from crest.errors import DataError, needs_extra
from crest.parameters.sections import PrepareParameters

# Levels of folders that the files of a split are searched in; images lie at any depth.
DEPTH = 4
# The file of the bundled digits within its package.
DIGITS = ("sklearn", "datasets/data/digits.csv.gz")
# Of a model's folder: its weights; its configuration and its tokenizer.
WEIGHTS = (".safetensors",)
DESCRIPTION = (".jinja", ".json", ".model", ".tiktoken", ".txt")
# Keys that say nothing of which files are read.
INDIFFERENT = {
    *("seed", "validation", "image_size", "fit", "storage", "encoded_side"),
    *("max_length", "workers", "tokenizer"),
}


class UnseenError(DataError):
    """An input that cannot be read now: its folder is not there, or the hub does not answer.

    ``name`` is what the parameters call it, ``remote`` whether it lies on the hub.
    """

    def __init__(self, message: str, name: str, remote: bool) -> None:
        super().__init__(message)
        self.name, self.remote = name, remote


@dataclass(frozen=True)
class Fingerprint:
    """What identifies an input.

    Attributes
    ----------
    name
        What the parameters call it.
    files, size
        How many files it has, and their bytes; None where they cannot be read.
    sha256
        Over the names within the input, the sizes and the contents of the files; None likewise.
    """

    name: str | None
    files: int | None = None
    size: int | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        """Say it in a line."""
        if self.files is None:
            return f"{self.name}, by its name"
        return f"{self.name}, {self.files} files, {self.size} bytes"


def source_fingerprint(params: PrepareParameters, hashes: Hashes) -> Fingerprint:
    """Return what the data set that the parameters name would be read from.

    torchvision's archives are known by their name: only the official ones are read.

    Raises
    ------
    ParameterError, DataError
        Whatever opening the source raises.
    UnseenError
        If the folder is not there, or the hub cannot be asked.
    """
    find_dataset(params)
    source = params.source
    if source is None:
        return _bundled(hashes)
    if source.startswith(REMOTE):
        return _of_remote(source)
    if source.partition(":")[0] == "torchvision":
        return Fingerprint(source)
    folder = _local(params)
    key = params.model_dump_json(exclude=INDIFFERENT)
    depth = None if params.dataset in ("folder", "listed") else DEPTH
    names = hashes.listed(key, tree_digest(folder, depth), lambda: _opened(params, folder))
    return _of_files(source, folder, names, hashes)


def folder_fingerprint(name: str, hashes: Hashes, weights: bool) -> Fingerprint:
    """Return what a model's folder holds, with or without its weights.

    A name that is no folder here, as of a model on the hub, is identified by itself.
    """
    folder = Path(name).expanduser()
    try:
        if not folder.is_dir():
            return Fingerprint(name)
        endings = DESCRIPTION + (WEIGHTS if weights else ())
        found = sorted(
            entry.name
            for entry in os.scandir(folder)
            if entry.name.lower().endswith(endings)
            and not entry.name.startswith(".")
            and entry.is_file()
        )
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}; mend it") from None
    return _of_files(name, folder, found, hashes)


def file_fingerprint(name: str, hashes: Hashes) -> Fingerprint:
    """Return what a file holds; a name that is no file here is identified by itself."""
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            return Fingerprint(name)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; mend it") from None
    return _of_files(name, path.parent, [path.name], hashes)


def _local(params: PrepareParameters) -> Path:
    source = str(params.source)
    try:
        if params.dataset == "listed":
            return local_file(source, LISTS).parent
        return local_folder(source)
    except DataError as error:
        raise UnseenError(str(error), source, False) from None


def _opened(params: PrepareParameters, folder: Path) -> list[str]:
    """Return the files that the opened splits read, by their names within the folder."""
    source = open_source(params)
    splits = (source.train, source.validation, source.test)
    there = [split for split in splits if split is not None]
    files = {Path(file) for split in there for file in split.files}
    files |= {split.listing for split in there if isinstance(split, ListedReader)}
    return sorted(file.relative_to(folder).as_posix() for file in files)


def _bundled(hashes: Hashes) -> Fingerprint:
    """Return that of the digits; scikit-learn is not imported for it."""
    package, file = DIGITS
    found = find_spec(package)
    if found is None or found.origin is None:
        return Fingerprint(package)
    return _of_files(package, Path(found.origin).parent, [file], hashes)


def _of_files(name: str, folder: Path, names: Sequence[str], hashes: Hashes) -> Fingerprint:
    return _of_listing(name, hashes.of(folder, names))


def _of_listing(name: str, listing: Iterable[tuple[str, int, str]]) -> Fingerprint:
    digest, files, size = hashlib.sha256(), 0, 0
    for file, length, content in listing:
        digest.update(os.fsencode(file) + f"\0{length}\0{content}\n".encode())
        files, size = files + 1, size + length
    return Fingerprint(name, files, size, digest.hexdigest())


def _of_remote(source: str) -> Fingerprint:
    """Ask the hub which Parquet files there are, and what it calls their contents.

    Raises
    ------
    UnseenError
        If it cannot be asked.
    """
    with needs_extra("text"):
        from huggingface_hub import HfFileSystem

    check_address(source)
    address = source.removeprefix(REMOTE).rstrip("/").replace("@~parquet", "@refs/convert/parquet")
    try:
        found: Any = HfFileSystem(skip_instance_cache=True).find(address, detail=True)
    except Exception as error:  # what the libraries below raise has no base of its own
        reason = str(error).strip().partition("\n")[0]
        raise UnseenError(f"{source}: cannot be asked for ({reason})", source, True) from None
    listing = (
        (name.removeprefix(address), int(entry["size"]), _content(entry))
        for name, entry in sorted(found.items())
        if name.endswith(".parquet")
    )
    return _of_listing(source, listing)


def _content(entry: Mapping[str, Any]) -> str:
    """Return what the hub calls the contents of a file."""
    return str(entry["lfs"]["sha256"] if entry.get("lfs") else entry["blob_id"])
