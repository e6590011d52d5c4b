"""What opening prepared images and opening prepared text share."""

import mmap
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crest.data.files import damaged, open_array


def open_tensor(folder: Path, split: str, name: str) -> Tensor:
    """Map ``SPLIT_NAME.npy`` as a tensor; only what is accessed is read, and nothing may write.

    Raises
    ------
    ArtifactError
        If the file is absent or damaged.
    """
    array = open_array(folder, split, name)
    if array.nbytes > physical_memory() / 2:
        _do_not_read_ahead(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


def physical_memory() -> int:
    """Return the bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _do_not_read_ahead(array: np.ndarray[Any, Any]) -> None:
    """Have the system read the pages that are asked for, and none around them.

    Examples are asked for in random order. Where the file fits into memory, reading megabytes
    around each soon has all of it there; where it does not, they are dropped before they are used.
    """
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_RANDOM)


def fits(values: Tensor, device: torch.device) -> bool:
    """Whether an array takes less than half of the free memory of a device that is not the CPU."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return values.nbytes < free / 2


def check_labels(folder: Path, name: str, labels: Tensor, size: int, classes: int) -> None:
    """Refuse labels that are not int64, one an example, of the classes."""
    path = folder / f"{name}_labels.npy"
    if list(labels.shape) != [size] or labels.dtype != torch.int64:
        found = f"{labels.dtype} {list(labels.shape)}, meta.json says {[size]} of int64"
        raise damaged(path, found)
    if labels.min() < 0 or labels.max() >= classes:
        raise damaged(path, f"labels outside {classes} classes")
