"""Threads that work beside the main one, each on one core."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import get_worker_info

# Where Linux says how much of all cores a container may take: microseconds of so many, or "max".
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Return the cores that this process may use, at least one.

    Those that a container may use; its share, where a launcher started several, or it is a worker
    of a DataLoader.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    share = max(1, int(processes)) if processes.isdecimal() else 1
    worker = get_worker_info()
    if worker is not None:
        share *= worker.num_workers
    return max(1, min(cores or 1, _quota()) // share)


def _quota() -> int:
    """Return how many cores the container may keep busy."""
    try:
        allowed, period = QUOTA.read_text().split()
        return max(1, round(int(allowed) / int(period)))
    except (OSError, ValueError):
        return 2**31  # no container, or no limit


class Threads:
    """Threads that are started when they are first needed; those of a forked process are its own.

    Parameters
    ----------
    count
        How many; None for one a core that this process may use.
    """

    def __init__(self, count: int | None = None) -> None:
        self._count = count
        self._process = 0
        self._pool: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the threads behind, for another process."""
        return {"_count": self._count, "_process": 0, "_pool": None}

    @property
    def begun(self) -> bool:
        """Whether they are there in this process."""
        return self._process == os.getpid()

    def pool(self) -> ThreadPoolExecutor:
        """Return them, each of which keeps PyTorch's operations to itself."""
        if self._pool is None or not self.begun:
            self._process = os.getpid()
            self._pool = single_threaded_pool(self._count or usable_cores())
        return self._pool


def single_threaded_pool(workers: int) -> ThreadPoolExecutor:
    """Return a pool of threads, in each of which PyTorch's operations use that thread alone.

    Left to itself PyTorch starts a team of threads for each of them, which wait for each other: an
    operation of a quarter of a millisecond then takes ten times as long. What the calling thread
    uses stays as it was.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="crest")
    begun = threading.Barrier(workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread takes over the process's number the first time it asks
        torch.set_num_threads(1)  # of this thread, and of those that have not asked yet
        begun.wait()

    for _ in range(workers):
        pool.submit(begin)
    begun.wait()
    torch.set_num_threads(before)
    return pool
