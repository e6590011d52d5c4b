"""Whether prepared arrays are as they were written, by the hash of their content.

Reading all of it costs a second for each gigabyte or so of one core. Up to :data:`AT_ONCE` bytes
that is done when the data are opened; more is read in a thread, with pauses, while the work on them
goes on, and has to be whole before any result is put in its place.
"""

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from crest.artifacts import cannot_be_read
from crest.data.files import ImageMeta, Meta, TextMeta
from crest.errors import ArtifactError, DamagedDataError

AT_ONCE = 2**30
BLOCK_BYTES = 2**20
# Share of the time that the thread works: it is not to take the cores and the disk from training.
SHARE = 0.2

PIXELS = ("images", "labels")
ENCODED = ("bytes", "labels", "offsets", "shapes")
TEXT = ("labels", "offsets", "second_starts", "tokens")


def array_files(folder: Path, meta: Meta) -> list[Path]:
    """Return the arrays of prepared data, in the order of their names."""
    parts = TEXT if isinstance(meta, TextMeta) else PIXELS
    if isinstance(meta, ImageMeta) and meta.storage == "encoded":
        parts = ENCODED
    return [
        folder / name
        for name in sorted(f"{split}_{part}.npy" for split in meta.sizes for part in parts)
    ]


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of all arrays of a folder, in the order of the names."""
    return _hash(sorted(folder.glob("*.npy")), pauses=False)


def file_hash(path: Path) -> str:
    """SHA-256 of a file; an :class:`ArtifactError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise cannot_be_read(path, error) from None


Described = TypeVar("Described", bound=Meta)


def with_hashes(folder: Path, meta: Described) -> Described:
    """Return a description with the hashes of what the folder holds."""
    found: dict[str, Any] = {"source_hashes": _source_hashes(folder, meta)}
    if isinstance(meta, TextMeta):
        found["text_hashes"] = {
            split: file_hash(folder / f"{split}_texts.parquet") for split in meta.sizes
        }
    return replace(meta, content_hash=_identified(content_hash(folder), meta), **found)


def _source_hashes(folder: Path, meta: Meta) -> dict[str, str]:
    """Hash the files of sources that there are: not every reader knows where examples come from."""
    files = {split: folder / f"{split}_sources.parquet" for split in meta.sizes}
    return {split: file_hash(path) for split, path in files.items() if path.exists()}


def _identified(hashed: str, meta: Meta) -> str:
    """Return what identifies data: of encoded images also how models see them."""
    if not isinstance(meta, ImageMeta) or meta.storage == "pixels":
        return hashed
    return hashlib.sha256(f"{hashed} {meta.image_shape} {meta.fit}".encode()).hexdigest()


class Verification:
    """The check of a folder's arrays: done, or under way in a thread of its own.

    Raises
    ------
    DamagedDataError
        If they are other than when they were written.
    ArtifactError
        If one cannot be read.
    """

    def __init__(self, folder: Path, meta: Meta) -> None:
        self._folder = folder
        self._meta = meta
        self._files = array_files(folder, meta)
        self._failure: ArtifactError | None = None
        self._thread: threading.Thread | None = None
        if sum(path.stat().st_size for path in self._files) <= AT_ONCE:
            self._verify(pauses=False)
            self.require_whole()
        else:
            self._thread = threading.Thread(target=self._verify, args=(True,), daemon=True)
            self._thread.start()

    def require_whole(self, wait: bool = True) -> None:
        """Raise what was found; without ``wait`` only if something was found by now."""
        if wait and self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _verify(self, pauses: bool) -> None:
        try:
            found = _identified(_hash(self._files, pauses), self._meta)
            if found != self._meta.content_hash:
                self._failure = DamagedDataError(
                    f"{self._folder}: its arrays are damaged: other than when they were written "
                    "(content_hash); run `python cli.py prepare` again"
                )
        except OSError as error:
            self._failure = cannot_be_read(Path(error.filename or self._folder), error)


def _hash(files: list[Path], pauses: bool) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        for block in _blocks(path):
            started = time.perf_counter()
            digest.update(block)
            if pauses:
                time.sleep((1 / SHARE - 1) * (time.perf_counter() - started))
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[memoryview]:
    """Yield a file in blocks, which all lie in the same memory."""
    memory = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(memory):
            yield memory[:count]
