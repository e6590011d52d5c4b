"""Random generators: one for each purpose, so that no draw depends on another's."""

import hashlib

import torch


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator of its own for ``purpose``, such as ``augmentation``."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
