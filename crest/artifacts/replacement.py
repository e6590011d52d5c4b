"""Files and folders that are replaced: the old is there until the new is whole.

What is new is written under a random name beside the old, flushed to disk and put in its place in
one step. Only whoever holds the lock (:mod:`crest.artifacts.locks`) writes, so that all that lies
about under such a name was left by a process that was killed.
"""

import ctypes
import errno
import os
import re
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType

from crest.artifacts.failures import cannot_be_written
from crest.artifacts.locks import writing
from crest.errors import ArtifactError

# Seconds to wait for another process that writes the same file.
PATIENCE = 30.0

# What desktops and file systems leave in a folder, and we in one that is being written.
LITTER = (".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".nfs*", ".*.partial*", ".*.lock")

# Places that lead to what a process has open, be that a file.
OPEN_FILES = re.compile(r"/dev/(stdin|stdout|stderr|fd/\d+)|/proc/[^/]+/fd/\d+")

_CURRENT_FOLDER = -100  # AT_FDCWD of <fcntl.h>
_RENAME_EXCHANGE = 2  # of <linux/fs.h>
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose file takes the place of ``path`` if the block ends well.

    It lies in a folder of its own: some libraries write beside it first, and leave that when they
    are killed. A pipe or a terminal at ``path`` gets what was written, and stays.

    Raises
    ------
    ArtifactError
        If the file system refuses anything, or ``path`` is a socket or a disk.
    """
    if _is_stream(path):
        with _streaming(path) as temporary:
            yield temporary
        return
    with _writing(path, PATIENCE) as target, _temporary(target) as folder:
        temporary = folder / target.name
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)


@contextmanager
def replacing_folder(folder: Path, ours: Sequence[str] | None = None) -> Iterator[Path]:
    """Yield a new empty folder that takes the place of ``folder`` if the block ends well.

    Whoever else is at it meanwhile is refused, for as long as the block takes.

    Parameters
    ----------
    ours
        Patterns of the names, below the folder, that are ours to remove; None for any. A folder
        that holds another file stays as it is.

    Raises
    ------
    ArtifactError
        If ``folder`` is a file, holds another's file, is being written or read by another
        process, or the file system refuses anything.
    """
    with _writing(folder) as target:
        if target.exists() and not target.is_dir():
            raise ArtifactError(f"{folder}: a file where a folder is to be; move it away")
        refuse_others(folder, ours)
        try:
            with _temporary(target) as temporary:
                yield temporary
                temporary.chmod(0o777 & ~_umask())
                refuse_others(folder, ours)
                _swap(temporary, target)
        except ArtifactError as error:
            raise _of_the_folder(error, target, folder) from None


def _of_the_folder(error: ArtifactError, target: Path, folder: Path) -> ArtifactError:
    """Name the folder where whoever wrote into it knew it by its temporary name."""
    temporary = re.escape(str(target.parent / f".{target.name}.")) + r"[a-z0-9_]{8}\.partial"
    return ArtifactError(re.sub(temporary, lambda _: str(folder), str(error)))


@contextmanager
def claiming(folder: Path) -> Iterator[None]:
    """Keep others from replacing ``folder``, which the same thread will do later.

    Raises
    ------
    ArtifactError
        If it is being written or read by another process, or the file system refuses anything.
    """
    with ExitStack() as held:
        try:
            target = folder.resolve()
            held.enter_context(_folder_of(target))
            held.enter_context(writing(target))
        except OSError as error:
            raise cannot_be_written(folder, error) from None
        yield


@contextmanager
def _folder_of(target: Path) -> Iterator[None]:
    """Make the folders above ``target``, and remove those that are still empty at the end."""
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # one that is not empty
            for folder in made:
                folder.rmdir()


def others_in(folder: Path, ours: Sequence[str]) -> str | None:
    """Return the name of a file below ``folder`` that fits no pattern of ``ours``, if there is one.

    What systems leave behind in every folder does not count.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        litter = any(fnmatchcase(part, mark) for part in name.split("/") for mark in LITTER)
        known = litter or any(fnmatchcase(name, mark) for mark in ours)
        if not known and (path.is_symlink() or not path.is_dir()):
            return name
    return None


def refuse_others(folder: Path, ours: Sequence[str] | None) -> None:
    """Raise :class:`ArtifactError` for a folder that holds a file of another's."""
    if ours is not None and (name := others_in(folder, ours)) is not None:
        raise ArtifactError(
            f"{folder}: holds {name}, which would be removed with it; move it elsewhere"
        )


def sweep(path: Path) -> None:
    """Remove what a killed process left beside a file or folder, unless it is being written."""
    target = path.resolve()
    if not any(_left_beside(target)):
        return
    try:
        with writing(target) as locked:
            if locked:
                _sweep(target)
    except OSError as error:
        raise cannot_be_written(path, error) from None


@contextmanager
def _writing(path: Path, patience: float = 0.3) -> Iterator[Path]:
    """Yield where ``path`` leads if it is a link, in a folder that is there, held by us alone."""
    try:
        target = path.resolve()
        _refuse_devices(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with writing(target, patience) as locked:
            if locked:
                _sweep(target)
            yield target
    except OSError as error:
        if _is_of_another_place(error, path):
            raise
        raise cannot_be_written(path, error) from None


def _is_of_another_place(error: OSError, path: Path) -> bool:
    """Whether a file system refused something else than what is written: what is read for it."""
    if not isinstance(error.filename, str):
        return False
    return not Path(error.filename).absolute().is_relative_to(path.resolve().parent)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Make a folder beside ``target`` that is removed at the end, whatever it holds then."""
    temporary = Path(tempfile.mkdtemp(".partial", f".{target.name}.", target.parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _left_beside(target: Path) -> Iterator[Path]:
    """Yield what lies beside ``target`` under the temporary names that are its own."""
    name = re.compile(re.escape(f".{target.name}.") + r"[a-z0-9_]{8}\.(partial|earlier)")
    if target.parent.is_dir():
        yield from (path for path in target.parent.iterdir() if name.fullmatch(path.name))


def _sweep(target: Path) -> None:
    """Remove what a killed process left beside ``target``; put back what it had moved aside."""
    for left in _left_beside(target):
        if left.suffix == ".earlier" and not target.exists():
            left.rename(target)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _swap(temporary: Path, folder: Path) -> None:
    """Put ``temporary`` where ``folder`` is; there is always one of the two."""
    if not folder.exists():
        temporary.rename(folder)
    elif not _exchange(temporary, folder):
        with _signals_held():
            _rename_twice(temporary, folder)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if rename(_CURRENT_FOLDER, paths[0], _CURRENT_FOLDER, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number))


def _rename_twice(temporary: Path, folder: Path) -> None:
    """Move the earlier folder aside first; killed in between, the next run moves it back."""
    earlier = temporary.with_suffix(".earlier")
    folder.rename(earlier)
    try:
        temporary.rename(folder)
    finally:
        if not folder.exists():
            earlier.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Handle signals that come within the block after it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    asking = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in asking}
    try:
        yield
    finally:
        for asked, handler in before.items():
            signal.signal(asked, handler)
        for number in came:
            signal.raise_signal(number)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _is_stream(path: Path) -> bool:
    """Whether a path leads to a pipe, a terminal or what a process has open."""
    mode = _mode(path)
    opened = mode and OPEN_FILES.fullmatch(os.path.abspath(path))  # noqa: PTH100 resolve follows
    return bool(opened) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _refuse_devices(path: Path) -> None:
    mode = _mode(path)
    for test, name in ((stat.S_ISSOCK, "socket"), (stat.S_ISBLK, "disk")):
        if test(mode):
            raise ArtifactError(f"{path}: a {name}, which is not replaced; name a file")


@contextmanager
def _streaming(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose content is sent to a stream if the block ends well."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / "stream"
            yield temporary
            with temporary.open("rb") as written, path.open("ab") as stream:
                shutil.copyfileobj(written, stream)
    except OSError as error:
        raise cannot_be_written(path, error) from None


def _umask() -> int:
    """Read the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
