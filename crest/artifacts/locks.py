"""Locks on what is written: whoever comes second learns who came first.

A lock is the file ``.NAME.lock`` beside what it guards, locked with flock: the system lets go of it
when its process ends, however that ends. What is written in it is for messages only, for the
numbers of processes say nothing: in containers every one is number 1.
"""

import errno
import logging
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from crest.errors import ArtifactError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

# Seconds in which somebody who lets go of a lock, or only tests one, is waited for.
BRIEFLY = 0.3
PAUSE = 0.01
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF}
NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}
WRITES, READS = "writes: ", "reads: "

# Which thread holds which lock alone, and all that are open: a child process is to let go of them.
_alone: dict[Path, int] = {}
_open: dict[int, Path] = {}


def lock_path(target: Path) -> Path:
    """Return the file that is locked while ``target`` is written or read."""
    return target.parent / f".{target.name}.lock"


@contextmanager
def writing(target: Path, patience: float = BRIEFLY) -> Iterator[bool]:
    """Be the only one who writes or reads ``target``; its folder must be there.

    A thread that holds the lock already holds it once more. Yields whether it is held: on a file
    system without locks a message says so, and nothing is.

    Parameters
    ----------
    patience
        Seconds to wait for others.

    Raises
    ------
    ArtifactError
        If somebody else writes or reads it for longer.
    OSError
        If the file system refuses the file of the lock.
    """
    path = lock_path(target.resolve())
    if _alone.get(path) == threading.get_ident():
        yield True
        return
    descriptor = _acquire(path, target, shared=False, patience=patience)
    if descriptor is None:
        logger.warning(
            "%s: its file system has no locks: see to it that no other run writes here", target
        )
        yield False
        return
    _alone[path] = threading.get_ident()
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{WRITES}{_myself()}\n".encode())
        yield True
    finally:
        del _alone[path]
        _let_go(path, descriptor)


@contextmanager
def reading(target: Path) -> Iterator[None]:
    """Keep others from replacing ``target`` while it is read; any number may read.

    Where no lock can be made, as in a folder that may not be written to, there is none.

    Raises
    ------
    ArtifactError
        If somebody else is writing it.
    """
    path = lock_path(target.resolve())
    if _alone.get(path) == threading.get_ident():
        yield
        return
    descriptor = None
    try:
        descriptor = _acquire(path, target, shared=True, patience=BRIEFLY)
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise ArtifactError(f"{path}: cannot be locked: {error.strerror or error}") from None
    if descriptor is None:
        yield
        return
    mine = f"{READS}{_myself()}\n".encode()
    begin = _append(descriptor, mine)
    try:
        yield
    finally:
        with suppress(OSError):
            os.pwrite(descriptor, b" " * (len(mine) - 1), begin)
        _let_go_shared(path, descriptor)


def _acquire(path: Path, target: Path, shared: bool, patience: float) -> int | None:
    """Return the descriptor of the locked file, None where there are no locks."""
    if fcntl is None:
        return None
    until = time.monotonic() + patience
    while True:
        if not shared:  # whoever made the folder may just have removed it again
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, shared)
            if _is_at(path, descriptor):  # else whoever held it has removed it since
                _open[descriptor] = path
                return descriptor
        except BlockingIOError:
            if time.monotonic() > until:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise _busy(target, holder) from None
            time.sleep(PAUSE)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in NO_LOCKS:
                raise
            with suppress(OSError):
                path.unlink()
            return None
        os.close(descriptor)


def _lock(descriptor: int, shared: bool) -> None:
    if shared:
        with suppress(BlockingIOError):  # alone here: nothing that is written in it holds any more
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (found.st_ino, found.st_dev) == (held.st_ino, held.st_dev)


def _append(descriptor: int, line: bytes) -> int:
    """Write a line at the end, where others may be writing theirs; returns where it begins."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    os.write(descriptor, line)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return os.lseek(descriptor, 0, os.SEEK_CUR) - len(line)


def _let_go(path: Path, descriptor: int) -> None:
    """Remove a file that is locked by nobody else, and let go of it."""
    with suppress(OSError):
        path.unlink()
    _open.pop(descriptor, None)
    os.close(descriptor)


def _let_go_shared(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # others read on
        _open.pop(descriptor, None)
        os.close(descriptor)
        return
    _let_go(path, descriptor)


def remove_files() -> None:
    """Remove the files of the locks that this process alone holds, as it is about to end."""
    for descriptor, path in list(_open.items()):
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _forget() -> None:
    """Close what a child process has of its parent's locks, which it would keep after its end."""
    for descriptor in _open:
        with suppress(OSError):
            os.close(descriptor)
    _open.clear()
    _alone.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _myself() -> str:
    return f"process {os.getpid()} on {platform.node()} since {datetime.now():%Y-%m-%d %H:%M:%S}"


def _holder(descriptor: int) -> str:
    """Return the last line that is written in a lock."""
    with suppress(OSError):
        lines = os.pread(descriptor, 2**16, 0).decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "")
    return ""


def _busy(target: Path, holder: str) -> ArtifactError:
    if holder.startswith(READS):
        what, who = "a run that reads it goes on", holder.removeprefix(READS)
    else:
        what, who = "a run goes on here", holder.removeprefix(WRITES)
    return ArtifactError(
        f"{target}: {what}{f', {who}' if who else ''}; wait until it has ended, or work in another "
        "copy of the project"
    )
