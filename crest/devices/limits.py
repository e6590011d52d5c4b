"""What parameters ask for, held against the data and the machine before it is begun.

Bounds on a parameter alone are in :mod:`crest.parameters.types`.
"""

import os
import shutil
import threading
from pathlib import Path

from crest.devices.machine import memory, readable
from crest.errors import ParameterError

# Passes over the training set that one choice or estimate may take, at one step of training.
PASSES = 100
# Threads for each core: more of them only wait for each other.
THREADS_PER_CORE = 16


def require_passes(key: str, count: float, each: int, examples: int, what: str) -> None:
    """Refuse what would score the training set more than :data:`PASSES` times at once.

    Parameters
    ----------
    key
        The parameter that ``count`` comes from.
    count, each
        How many times so many examples.
    what
        What they are, in the plural.

    Raises
    ------
    ParameterError
        If they are too many; the message says how many passes, and the highest count.
    """
    if count * each > PASSES * examples:
        most = PASSES * examples // each
        raise ParameterError(
            f"{key}: {count:.0f} {what}, each of {each} examples, are "
            f"{count * each / examples:.0f} passes over the {examples} training examples at one "
            f"step; use at most {most}, {PASSES} passes"
        )


def require_memory(key: str, needed: float, what: str) -> None:
    """Refuse what takes more memory than there is.

    Raises
    ------
    ParameterError
        If it does; the message says how much it takes.
    """
    if needed > (there := memory()):
        raise ParameterError(
            f"{key}: {what} would take {readable(round(needed))} of memory, the machine has "
            f"{readable(there)}; lower it"
        )


def require_space(key: str, needed: int, what: str, folder: Path) -> None:
    """Refuse what takes more of the disk that a folder will lie on than is free.

    Raises
    ------
    ParameterError
        If it does; the message says how much it takes.
    """
    existing = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    if needed > (free := shutil.disk_usage(existing).free):
        raise ParameterError(
            f"{key}: {what} would take {readable(needed)}, {readable(free)} are free in "
            f"{existing}; lower it"
        )


def require_threads(key: str, count: int) -> None:
    """Refuse more threads than the machine can start, or than its cores could serve.

    Raises
    ------
    ParameterError
        If it cannot; the message says how many cores there are.
    """
    cores = len(os.sched_getaffinity(0))
    if count <= cores:
        return
    most = THREADS_PER_CORE * cores
    if count > most:
        raise ParameterError(
            f"{key}: {count} threads for {cores} cores; use at most {most}, or null for one a core"
        )
    if not _can_start(count):
        raise ParameterError(
            f"{key}: the system does not let this process start {count} threads (ulimit -u, or "
            f"the limit of its container); use {cores}, one a core, or null"
        )


def _can_start(count: int) -> bool:
    """Whether so many threads can be there at once; libraries abort where they cannot."""
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        return False
    finally:
        done.set()
        for thread in started:
            thread.join()
    return True
