"""Copies to a device."""

import torch
from torch import Tensor


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Return values there; those on the host are read at once, and nobody waits for a GPU."""
    # Only towards a device: what comes from one is not there yet when such a copy returns.
    return values.to(device, non_blocking=values.device.type == "cpu")
