"""What a file system refuses, in words: what, where, and what to do."""

import errno
import os
import re
from pathlib import Path

from crest.errors import ArtifactError

_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of a file",
    errno.EACCES: "make its folder writable",
    errno.EPERM: "make its folder writable",
    errno.EROFS: "work on a disk that can be written",
    errno.EEXIST: "move away the file that is where a folder is to be",
    errno.ENOTDIR: "move away the file that is where a folder is to be",
    errno.EISDIR: "move away the folder in its place, or name another file",
    errno.ENAMETOOLONG: "give it a shorter name",
}
_REMEDIES_OF_READING = {
    errno.EACCES: "make it readable",
    errno.EPERM: "make it readable",
    errno.EISDIR: "name a file",
    errno.EIO: "look after the disk",
    errno.ELOOP: "mend the link",
    errno.ENAMETOOLONG: "give it a shorter name",
}


def os_error(error: Exception) -> OSError:
    """Return what Polars or safetensors say of a file system as Python itself would say it."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is None:
        return OSError(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1])))


def cannot_be_written(path: Path, error: OSError) -> ArtifactError:
    """Say what the file system refused, and what to do; temporary names are left out."""
    return _refused(path, "written", error, _REMEDIES)


def cannot_be_read(path: Path, error: OSError) -> ArtifactError:
    """Say why a file that may well be whole cannot be read, and what to do."""
    return _refused(path, "read", error, _REMEDIES_OF_READING)


def _refused(path: Path, what: str, error: OSError, remedies: dict[int, str]) -> ArtifactError:
    remedy = remedies.get(error.errno or 0)
    reason = error.strerror or str(error)
    return ArtifactError(f"{path}: cannot be {what}: {reason}{f'; {remedy}' if remedy else ''}")
