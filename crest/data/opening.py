"""What opening prepared images and opening prepared text share."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from crest.data.files import damaged, open_array


def open_tensor(folder: Path, split: str, name: str) -> Tensor:
    """Map ``SPLIT_NAME.npy`` as a tensor; only what is looked at is read, and nothing may write.

    Raises
    ------
    ArtifactError
        If the file is absent or damaged.
    """
    array = open_array(folder, split, name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


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
