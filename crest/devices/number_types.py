"""Numbers of examples, in as few bytes as hold them."""

import torch

_INT32 = torch.iinfo(torch.int32).max


def number_type(count: int) -> torch.dtype:
    """Return the smallest type that holds the numbers from 0 to ``count``: int32 or int64."""
    return torch.int32 if count <= _INT32 else torch.int64
