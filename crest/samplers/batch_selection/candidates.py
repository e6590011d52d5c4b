"""Candidates for a mini-batch, and what is known of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from crest.inference.forward import ForwardPass


@dataclass(frozen=True)
class Candidates:
    """k examples and the views that they would be trained on.

    ``indices`` int64 k; ``draws`` int64, k rows, of their views; ``weights`` float32 k;
    ``features`` float32 k×d, what a scorer knew of them (d = 0 where nothing is to be kept). All on
    the CPU.
    """

    indices: Tensor
    draws: Tensor
    weights: Tensor
    features: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, places: Tensor | slice) -> "Candidates":
        """Return some of them."""
        return Candidates(*(values[places] for values in vars(self).values()))

    @classmethod
    def joined(cls, first: "Candidates", second: "Candidates") -> "Candidates":
        """Return all of both."""
        pairs = zip(vars(first).values(), vars(second).values(), strict=True)
        return cls(*(torch.cat(pair) for pair in pairs))


@dataclass(frozen=True)
class Scores:
    """What a scorer says of k candidates.

    ``norms`` float32 k on the CPU: of each the norm of the gradient with respect to the logits,
    ‖p − y‖, as far as it is known or expected; NaN where it is not. ``features`` float32 k×d.
    ``outputs`` is the forward pass, where there was one.
    """

    norms: Tensor
    features: Tensor
    outputs: ForwardPass | None = None
