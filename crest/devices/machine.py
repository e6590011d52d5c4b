"""How much memory and disk there is, and what to say where something would take more."""

import os
import shutil
from functools import cache
from pathlib import Path

from crest.errors import DataError

# Where Linux says what a container may take; "max" or a huge number where it may take all.
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@cache
def memory() -> int:
    """Bytes of memory of the machine, or of the container where that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in CONTAINER_LIMITS:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return min(count for count in found if count > 0)


def require_disk(folder: Path, taken: int, what: str, advice: str) -> None:
    """Raise :class:`DataError` unless the disk that a folder lies on has so many bytes free."""
    free = shutil.disk_usage(folder).free
    if taken > free:
        raise DataError(
            f"{what} take {readable(taken)}, but {readable(free)} are free where data/prepared "
            f"lies; {advice}"
        )


def readable(count: int) -> str:
    """Show a number of bytes in the unit that fits."""
    size, units = float(count), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 1000 and (larger := next(units, None)):
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
