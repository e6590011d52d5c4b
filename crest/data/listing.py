"""The image files of a class's folder, and what else lies there, by its ending.

Hidden entries are left out at every depth. A link to a folder is followed unless it leads to what
is listed anyway, so that no image counts twice and no circle of links goes on for ever.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from crest.data.image_formats import SUFFIXES, UNREAD_SUFFIXES
from crest.data.sources import some
from crest.errors import DataError

# What systems and programs leave behind, under names that are not hidden by a dot.
HIDDEN = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
# Files of theirs that never hold an example, so that nobody asks where they went.
LITTER = frozenset(
    {".ds_store", "thumbs.db", "desktop.ini", ".gitkeep", ".gitignore", ".directory"}
)
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

Identity = tuple[int, int]  # device and number of a file or folder


@dataclass
class LeftOut:
    """What was not taken for an example: files by their endings, and the rest."""

    endings: Counter[str] = field(default_factory=Counter)
    beside: int = 0  # images outside the folders of classes
    hidden: int = 0
    links: int = 0
    folders: list[str] = field(default_factory=list)

    def count(self, name: str, beside_classes: bool = False) -> None:
        """Count a file by its name."""
        suffix = Path(name).suffix.lower()
        if beside_classes and suffix in SUFFIXES:
            self.beside += 1
        else:
            self.endings[suffix or "without an ending"] += 1

    def add(self, other: "LeftOut") -> None:
        """Count what was left out elsewhere too."""
        self.endings.update(other.endings)
        self.beside += other.beside
        self.hidden += other.hidden
        self.links += other.links
        self.folders += other.folders

    def __str__(self) -> str:
        """Say in words what it was."""
        parts = [f"{count} {ending}" for ending, count in sorted(self.endings.items())]
        for count, what in (
            (self.hidden, "hidden"),
            (self.links, "links to folders that are listed anyway"),
        ):
            parts += [f"{count} {what}"] if count else []
        return ", ".join(parts)

    def notes(self) -> Iterator[str]:
        """Say so in lines for people."""
        if text := str(self):
            yield f"left out: {text}"
        if unread := sorted(UNREAD_SUFFIXES.intersection(self.endings)):
            yield (
                f"warning: left out with them, images of kinds that are not read "
                f"({', '.join(unread)}); save them as PNG or JPEG to have them"
            )
        if self.beside:
            yield (
                f"warning: left out, images outside the folders of classes: {self.beside}; move "
                "them into their classes' folders to have them"
            )
        if self.folders:
            yield f"not read, being neither training nor test data: {some(self.folders)}"


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not meant to be seen."""
    return name.startswith(".") or name.lower() in HIDDEN or name.lower() in LITTER


def entries(folder: Path, left_out: LeftOut) -> list[os.DirEntry[str]]:
    """List what is in a folder in the order of the names, hidden entries left out and counted."""
    try:
        with os.scandir(folder) as scan:
            found = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error) from None
    hidden = [entry.name for entry in found if is_hidden(entry.name)]
    left_out.hidden += sum(name.lower() not in LITTER for name in hidden)
    return [entry for entry in found if not is_hidden(entry.name)]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def identity(path: Path) -> Identity:
    """Tell a folder by what stays the same whatever link leads to it."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    return found.st_dev, found.st_ino


def images_below(folder: Path, split: Path, known: set[Identity], left_out: LeftOut) -> list[Path]:
    """List the images of a class, at any depth, in the order of their paths.

    Parameters
    ----------
    split
        The folder of all classes: links into it are not followed.
    known
        Folders that are listed already, or lie around the split; grows.

    Raises
    ------
    DataError
        If a folder cannot be read, or what has an image's name is no file.
    """
    root = split.resolve()
    images: list[Path] = []
    folders = [folder]
    while folders:
        for entry in entries(folders.pop(), left_out):
            path = Path(entry.path)
            suffix = path.suffix.lower()
            if suffix in SUFFIXES:
                if not _is_file(entry):
                    _refuse(path)
                images.append(path)
            elif not is_folder(entry):
                left_out.count(entry.name)
            elif (entry.is_symlink() and path.resolve().is_relative_to(root)) or (
                identity(path) in known
            ):
                left_out.links += 1
            else:
                known.add(identity(path))
                folders.append(path)
    return sorted(images, key=lambda path: path.parts)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _refuse(path: Path) -> NoReturn:
    """Refuse what has an image's name but would be waited for, or leads nowhere."""
    try:
        check_kind(path, path.stat().st_mode)
    except OSError as error:
        if path.is_symlink():
            raise DataError(f"{path}: a link that leads nowhere; mend or remove it") from None
        raise unreadable(path, error) from None
    raise DataError(f"{path}: changed while it was read; run it again")


def check_kind(path: Path, mode: int) -> None:
    """Raise :class:`DataError` for a mode, as of ``stat``, that is no file's."""
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in KINDS if is_kind(mode)), "no file")
        raise DataError(f"{path}: {kind}, though its name is an image's; rename or remove it")


def unreadable(path: Path, error: OSError) -> DataError:
    """Return the error for a file or folder that the system does not let us read."""
    if isinstance(error, PermissionError):
        return DataError(f"{path}: cannot be read: no permission; allow it (chmod u+rX) or move it")
    return DataError(f"{path}: cannot be read: {error.strerror or error}; mend or remove it")
