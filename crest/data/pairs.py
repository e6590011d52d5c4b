"""Features of pairs, such as of a premise and a hypothesis, by those of either."""

import torch
from torch import Tensor


def pair_features(first: Tensor, second: Tensor) -> Tensor:
    """Return [u, v, |u − v|, u∘v] of k pairs' features u and v, float k×d each: k×4d.

    What relates the two is then linear in the features, as far as it goes (Conneau et al.,
    *Supervised Learning of Universal Sentence Representations*,
    EMNLP 2017, §3).
    """
    return torch.cat([first, second, (first - second).abs(), first * second], 1)
