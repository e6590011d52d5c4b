"""Copies to a device."""

import torch
from torch import Tensor


def is_read_at_once(values: Tensor) -> bool:
    """Return whether the host knows values without waiting for a device."""
    return values.device.type == "cpu"


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Return values there; those on the host are read at once, and nobody waits for a GPU."""
    # Only towards a device: what comes from one is not there yet when such a copy returns.
    return values.to(device, non_blocking=values.device.type == "cpu")
