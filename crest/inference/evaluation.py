"""A model's predictions on a whole split."""

from dataclasses import dataclass

import torch
from torch import Tensor

from crest.devices.out_of_memory import Halving
from crest.inference.evaluator import Evaluator

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


def evaluate(evaluator: Evaluator, batch_size: int | None = None) -> Evaluation:
    """Predict every example of a split; ``batch_size`` as of :meth:`Evaluator.score`."""
    halving = Halving(batch_size, "evaluation", _setting) if batch_size else None
    parts = []
    for indices in torch.arange(len(evaluator.examples)).split(BLOCK):
        scored = evaluator.score(indices, halving, features=False)
        confidences, predictions = scored.logits.softmax(1).max(1)
        parts.append((scored.labels, predictions, confidences, scored.losses))
    columns = [torch.cat(column).cpu() for column in zip(*parts, strict=True)]
    return Evaluation(*columns)


def _setting(batch_size: int) -> str:
    return f"evaluate.batch_size: {batch_size}"
