"""Tensors on disk: safetensors files with a checksum over every byte of them."""

import stat
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from crest.artifacts import seals
from crest.artifacts.failures import cannot_be_read, os_error
from crest.artifacts.replacement import replacing

# What safetensors raises over a file that it cannot make sense of; KeyError over a type it lacks.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    safetensors.SafetensorError,
)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and texts about them; the file appears whole or not at all.

    Raises
    ------
    ArtifactError
        If the file cannot be written.
    """
    with replacing(path) as partial:
        try:
            safetensors.torch.save_file(
                dict(tensors), partial, metadata={**metadata, seals.KEY: seals.BLANK}
            )
        except safetensors.SafetensorError as error:  # how safetensors says that the disk is full
            raise os_error(error) from None
        seals.seal_tensors(partial)


def are_whole(path: Path) -> bool | None:
    """Whether a file is as :func:`write_tensors` wrote it; None for one without a checksum.

    Raises
    ------
    ArtifactError
        If the file cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("it is no file")
        return seals.tensors_are_whole(path)
    except OSError as error:
        raise cannot_be_read(path, error) from None
