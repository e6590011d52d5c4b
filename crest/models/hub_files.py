"""Files of weights: from the hub, its cache or this machine; safetensors alone."""

from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from crest.artifacts import seals
from crest.artifacts.tensors import are_whole
from crest.errors import ParameterError, needs_extra
from crest.files.hub import locate

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl")


def hub_file(repository: str, name: str, key: str) -> Path:
    """Return the path of a file of the hub, downloaded if it is not in the cache.

    Raises
    ------
    ParameterError
        If it is not to be had.
    """
    with needs_extra("text"):
        from huggingface_hub import hf_hub_download

    place = locate(repository, key)
    if place.is_folder:
        return Path(place.name) / name
    try:
        return Path(hf_hub_download(repository, name, local_files_only=place.local_files_only))
    # No network, no such repository or file, a cache that cannot be written: of every kind.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ParameterError(
            f"{key}: {repository} has no {name} here ({type(error).__name__}: {reason}); download "
            f"it where there is a network (`hf download {repository} {name}`) and bring the cache, "
            "$HF_HOME, or name a local .safetensors file as train.weights"
        ) from None


def check_file(path: Path, key: str = "train.weights") -> None:
    """Refuse a path that is no file of safetensors; :class:`ParameterError`."""
    if path.name.endswith(PICKLES):
        raise ParameterError(
            f"{key}: {path}: a pickle, which can run any code when it is read; save its weights as "
            "safetensors: safetensors.torch.save_file(torch.load(FILE, weights_only=True), NEW)"
        )
    if not path.is_file():
        raise ParameterError(f"{key}: {path}: no such file; correct it")


def read_metadata(path: Path, key: str = "train.weights") -> dict[str, str]:
    """Return the text pairs in the head of a safetensors file; {} if it has none."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise _damaged(path, error, key) from None


def read_tensors(path: Path, key: str = "train.weights") -> dict[str, Tensor]:
    """Return all tensors of a safetensors file, on the CPU.

    Where it has a checksum, as our own files have, all of it is held against that.
    """
    if are_whole(path) is False:
        raise _damaged(
            path, f"its content is not that of its checksum, {seals.KEY} in its head", key
        )
    try:
        return dict(safetensors.torch.load_file(path))
    except (OSError, safetensors.SafetensorError) as error:
        raise _damaged(path, error, key) from None


def _damaged(path: Path, error: Any, key: str) -> ParameterError:
    reason = str(error).strip().partition("\n")[0]
    return ParameterError(
        f"{key}: {path}: not a safetensors file, or cut short or damaged ({reason}); copy or "
        "download it again"
    )
