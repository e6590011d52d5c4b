"""A model's predictions on a whole split."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crest.data.prepared import Split
from crest.devices.distributed import ALONE, Group
from crest.devices.out_of_memory import Halving
from crest.devices.precision import Precision
from crest.inference.forward import forward

# Examples whose activations are held at once.
BLOCK = 4000


@dataclass(frozen=True)
class Evaluation:
    """Predictions of n examples, on the CPU.

    ``predictions`` int64, ``confidences`` (probability of the prediction) and ``losses`` float32.
    """

    labels: Tensor
    predictions: Tensor
    confidences: Tensor
    losses: Tensor

    @property
    def accuracy(self) -> float:
        """Share of the examples classified right."""
        return float((self.predictions == self.labels).double().mean())

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return float(self.losses.double().mean())


def evaluate(
    model: nn.Module,
    split: Split,
    precision: Precision,
    batch_size: int | None = None,
    group: Group = ALONE,
) -> Evaluation:
    """Predict every example of a split, in eval mode; processes share the forward passes.

    ``batch_size`` as of :func:`crest.inference.forward.forward`.
    """
    halving = Halving(batch_size, "evaluation", _setting) if batch_size else None
    parts = []
    for indices in torch.arange(len(split)).split(BLOCK):
        scored = forward(model, split, indices, precision, halving, group, features=False)
        confidences, predictions = scored.logits.softmax(1).max(1)
        parts.append((scored.labels, predictions, confidences, scored.losses))
    columns = [torch.cat(column).cpu() for column in zip(*parts, strict=True)]
    return Evaluation(*columns)


def _setting(batch_size: int) -> str:
    return f"evaluate.batch_size: {batch_size}"
