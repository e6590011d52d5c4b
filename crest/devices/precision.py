"""Where a run computes, and in which floating-point format."""

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch

from crest.devices.out_of_memory import Halving
from crest.errors import ParameterError


@dataclass(frozen=True)
class Precision:
    """The format of forward passes on one device; weights and gradients stay in float32.

    Attributes
    ----------
    name
        ``'float32'`` or ``'bf16'``.
    device
        Where it holds.
    """

    name: str
    device: torch.device
    _halvings: dict[tuple[int, str], Halving] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def halving(self, size: int, what: str) -> Halving:
        """Return the one halving of so many examples at such work, so that it is remembered."""
        return self._halvings.setdefault((size, what), Halving(size, what))

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context for forward passes; for float32 it switches autocasting off."""
        if self.name != "bf16" and not torch.is_autocast_enabled(self.device.type):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.name == "bf16")


def resolve_device(name: str) -> torch.device:
    """Return the device that train.device names.

    Parameters
    ----------
    name
        ``'auto'`` (the current CUDA device where there is one, else the CPU), ``'cpu'``,
        ``'cuda'`` or ``'cuda:N'``.

    Raises
    ------
    ParameterError
        If there is no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise ParameterError(f"train.device: '{name}' is none of auto, cpu, cuda and cuda:N")
    return _cuda(name)


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Return the precision that train.precision names, on ``device``.

    Parameters
    ----------
    name
        ``'float32'``, ``'bf16'``, or ``'auto'``: bf16 where the hardware computes in it. Asked
        for by name, bf16 is used even where it is emulated and slow.
    device
        As :func:`resolve_device` returns it.

    Raises
    ------
    ParameterError
        If the name is none of these.
    """
    if name not in {"auto", "float32", "bf16"}:
        raise ParameterError(f"train.precision: '{name}' is none of auto, float32 and bf16")
    if name == "auto":
        name = "bf16" if has_bf16(device) else "float32"
    return Precision(name, device)


def has_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bf16 in hardware."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    # The last is the name of the instructions on ARM.
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _cuda(name: str) -> torch.device:
    """Return a CUDA device with its index, so that it equals the device of tensors on it."""
    if not torch.cuda.is_available():
        raise ParameterError(
            f"train.device: '{name}' asked for, but PyTorch finds no CUDA device here; "
            "use 'auto' or 'cpu'"
        )
    index = torch.device(name).index
    if index is None:
        return torch.device("cuda", torch.cuda.current_device())
    count = torch.cuda.device_count()
    if index >= count:
        raise ParameterError(
            f"train.device: '{name}' asked for, but the last CUDA device here is cuda:{count - 1}"
        )
    return torch.device("cuda", index)
