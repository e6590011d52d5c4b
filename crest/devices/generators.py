"""Random generators: one for each purpose, so that no draw depends on another's."""

import hashlib

import torch
from torch import Tensor


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator of its own for ``purpose``, such as ``augmentation``."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def copy_of(generator: torch.Generator) -> torch.Generator:
    """Return a CPU generator that will draw what this one would, and leaves it as it is."""
    return torch.Generator().set_state(generator.get_state())


def torch_seed(seed: int) -> int:
    """Return the seed to give PyTorch's own generators for a seed of up to 63 bits.

    The one on the CPU takes the low 32 bits: a seed of more is mixed first, so that no two of the
    same low bits are one. Those of 32 bits are as they are.
    """
    if seed < 2**32:
        return seed
    return int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8], "big") >> 1


def global_generators(device: torch.device) -> list[Tensor]:
    """Return the states of PyTorch's global generators, which dropout on a device draws from."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def set_global_generators(device: torch.device, states: list[Tensor]) -> None:
    """Take over what :func:`global_generators` returned."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
