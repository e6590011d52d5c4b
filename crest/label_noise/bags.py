"""Features of texts that need no training: hashed bags of tokens and of pairs of neighbours.

Weinberger et al., *Feature Hashing for Large Scale Multitask Learning*, ICML 2009.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

BUCKETS = 1024
_FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # odd, of 32 bits
_MASK = 2**31 - 1


def bags(inputs: Mapping[str, Tensor], buckets: int = BUCKETS) -> Tensor:
    """Return the features of k tokenised texts: float32 k×buckets, of length 1 each.

    ``input_ids`` and ``attention_mask``, k×L; of the two texts of a pair, as ``token_type_ids``
    tell them apart, the same token counts as two.
    """
    tokens, real = inputs["input_ids"].long(), inputs["attention_mask"].bool()
    kinds = inputs.get("token_type_ids", torch.zeros_like(tokens))
    single = (tokens + 1) * _FACTORS[0] + kinds * _FACTORS[1]
    pair = single[:, :-1] * _FACTORS[2] % _MASK + single[:, 1:]
    both = torch.cat([single, pair], 1)
    counted = torch.cat([real, real[:, :-1] & real[:, 1:]], 1)
    mixed = both % _MASK * _FACTORS[1] % _MASK
    places, signs = mixed % buckets, (mixed // buckets % 2 * 2 - 1).float()
    found = torch.zeros(len(tokens), buckets, dtype=torch.float32, device=tokens.device)
    found.scatter_add_(1, places, signs * counted)
    return F.normalize(found.sign() * found.abs().sqrt())
