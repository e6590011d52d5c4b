"""Hashes of files' contents, remembered by what the file system says of the files.

Hashing a hundred thousand files again reads none of them.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crest.artifacts import replacing
from crest.errors import DataError

# A file that was written so lately could change once more without a new date.
SETTLED_NS = 2 * 10**9
READERS = 8
VERSION = 1

Known = list[Any]


class Hashes:
    """Remembers the SHA-256 of files' contents, and which files a data set has.

    What is remembered of a file holds while its size, its dates and its number stay. Only what was
    asked for since the start is remembered by :meth:`save`.

    Parameters
    ----------
    path
        Where it is kept; it may be missing or damaged, which costs the time to read files again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known, self._lists = _read(path)
        self._kept: dict[str, Known] = {}
        self._kept_lists: dict[str, Known] = {}

    def listed(self, key: str, tree: str, find: Callable[[], Sequence[str]]) -> list[str]:
        """Return the names that ``find`` does, as found before where the tree is the same."""
        known = self._lists.get(key)
        names = known[1] if known is not None and known[0] == tree else list(find())
        self._kept_lists[key] = [tree, names]
        return names

    def of(self, folder: Path, names: Sequence[str]) -> Iterator[tuple[str, int, str]]:
        """Yield the name, size and SHA-256 of files, in the order of their names.

        Raises
        ------
        DataError
            If one cannot be read, or is no regular file.
        """
        with ThreadPoolExecutor(READERS) as readers:
            ordered = sorted(names)
            for name, (size, digest) in zip(
                ordered, readers.map(lambda name: self._of(folder / name), ordered), strict=True
            ):
                yield name, size, digest

    def save(self) -> None:
        """Write down what was asked for."""
        values = {"version": VERSION, "files": self._kept, "lists": self._kept_lists}
        with replacing(self._path) as partial:
            partial.write_text(json.dumps(values), encoding="utf-8")

    def _of(self, path: Path) -> tuple[int, str]:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path}: no regular file; move it away")
            key = os.fspath(path.absolute())
            signs = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            known = self._known.get(key)
            if known is None or known[:-1] != signs:
                with path.open("rb") as file:
                    known = [*signs, hashlib.file_digest(file, "sha256").hexdigest()]
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read: {error.strerror}; mend or remove it"
            ) from None
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS:
            self._kept[key] = known
        return status.st_size, known[-1]


def tree_digest(folder: Path, depth: int | None) -> str:
    """Return a hash of the names, sizes and dates of all files, ``depth`` levels deep or all."""
    digest = hashlib.sha256()
    for line in _walk(folder, depth, frozenset()):
        digest.update(line)
    return digest.hexdigest()


def _walk(folder: Path, depth: int | None, above: frozenset[tuple[int, int]]) -> Iterator[bytes]:
    """Yield a line for each file, links followed, except back to a folder above."""
    try:
        place = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # whoever opens the source says why
        return
    here = (place.st_dev, place.st_ino)
    if here in above:
        return
    for entry in entries:
        try:
            if entry.is_dir():
                if depth != 1:
                    yield from _walk(Path(entry.path), depth and depth - 1, above | {here})
                continue
            status = entry.stat()
        except OSError:
            continue
        yield os.fsencode(entry.path) + f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode()


def _read(path: Path) -> tuple[dict[str, Known], dict[str, Known]]:
    try:
        values = json.loads(path.read_bytes())
        if values["version"] != VERSION:
            return {}, {}
        files, lists = values["files"], values["lists"]
        whole = all(len(known) == 5 for known in files.values()) and all(
            len(known) == 2 for known in lists.values()
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}, {}
    return (files, lists) if whole else ({}, {})
