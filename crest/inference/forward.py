"""Scoring examples: forward passes in eval mode, without augmentation, that change nothing."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest.errors import TrainingError, diverged


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, so that BatchNorm statistics and dropout rest, and back."""
    training = [module for module in model.modules() if module.training]
    if training:  # within another such block there is nothing to do
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@dataclass(frozen=True)
class ForwardPass:
    """What one forward pass computed of k examples.

    ``indices`` int64 k, ``labels`` int64 k, ``logits`` float32 k×C and ``features`` (the last
    layer's input) float32 k×d, all on the model's device but ``indices``.
    """

    indices: Tensor
    labels: Tensor
    logits: Tensor
    features: Tensor

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy of each example, float32 k."""
        return F.cross_entropy(self.logits, self.labels, reduction="none")

    def smoothed_losses(self, label_smoothing: float) -> Tensor:
        """Cross-entropy of each example with its smoothed label, float32 k."""
        if label_smoothing == 0.0:
            return self.losses
        return F.cross_entropy(
            self.logits, self.labels, reduction="none", label_smoothing=label_smoothing
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return what another pass may be made of by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, device: torch.device) -> "ForwardPass":
        """Return the pass with everything but the indices on a device."""
        return ForwardPass(
            self.indices,
            self.labels.to(device),
            self.logits.to(device),
            self.features.to(device),
        )

    def without_features(self) -> "ForwardPass":
        """Return the pass without its features, which are the largest part of it."""
        return replace(self, features=self.features[:, :0].clone())

    @cached_property
    def correct(self) -> Tensor:
        """Whether each example is classified right, bool k."""
        return self.logits.argmax(1) == self.labels


def require_finite(scored: ForwardPass, step: int, region: int) -> float:
    """Return the mean loss of the examples scored.

    Raises
    ------
    TrainingError
        If it is no finite number: one that names an example, where it is the only kind that has
        such a loss, else that the training diverged.
    """
    if math.isfinite(loss := float(scored.losses.double().mean())):
        return loss
    losses = scored.losses.cpu()
    odd = ~losses.isfinite()
    if odd.all() or (step == 0 and int(odd.sum()) > len(odd) // 2):
        raise diverged(loss, step, region)
    row = int(odd.int().argmax())
    raise TrainingError(
        f"example {int(scored.indices[row])}: its loss is {float(losses[row])} at step {step}, the "
        f"losses of {int((~odd).sum())} others are finite: its input may hold NaN or infinity; "
        "correct or remove it (if it is in order, lower train.lr)"
    )


def joined(known: ForwardPass, scored: ForwardPass) -> ForwardPass:
    """Return a pass with the logits of some examples, in any order, replaced by another's."""
    where = places_of(scored.indices, known.indices)
    logits = known.logits.index_copy(0, where.to(known.logits.device), scored.logits)
    return replace(known, logits=logits)


def places_of(wanted: Tensor, within: Tensor) -> Tensor:
    """Return where each of some indices stands among others, all different; int64, on the CPU."""
    order = within.argsort()
    return order[torch.searchsorted(within[order], wanted)]
