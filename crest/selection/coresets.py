"""Mini-batch coresets: which examples, with which weights, and how they are written down."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from crest.artifacts import TABLES

NO_REGION = -1


@dataclass(frozen=True)
class MiniBatchCoreset:
    """One mini-batch: which examples, in which order, with which weights.

    ``indices`` int64 m and ``weights`` float32 m (mean 1, or a random part of a larger coreset's
    of mean 1, or those of a rule) on the CPU; ``region`` and ``number`` (within the region) say
    where it comes from, −1 for methods without regions; ``losses`` float32 m as seen at selection,
    where they were. ``draws`` are those of the views to train on
    (:meth:`crest.data.prepared.Split.views`), where the method has drawn them to choose by.
    """

    indices: Tensor
    weights: Tensor
    losses: Tensor | None = None
    region: int = NO_REGION
    number: int = NO_REGION
    draws: Tensor | None = None


@dataclass(frozen=True)
class Outputs:
    """What a step knew of its mini-batch before it was taken, on every process.

    ``loss`` is what was descended, a scalar; ``losses`` float32 m, ``logits`` float32 m×C and
    ``labels`` int64 m. All are detached and on the device.
    """

    loss: Tensor
    losses: Tensor
    logits: Tensor
    labels: Tensor

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, weights: Tensor) -> "Outputs":
        """Return those of logits (m×C), labels (int64 m) and weights (float32 m) of one device."""
        logits = logits.detach().float()
        losses = F.cross_entropy(logits, labels, reduction="none")
        return cls((losses * weights).mean(), losses, logits, labels)


def uniform(indices: Tensor) -> MiniBatchCoreset:
    """Return a plain mini-batch, every weight 1."""
    return MiniBatchCoreset(indices, torch.ones(len(indices)))


def coreset_rows(coresets: Sequence[MiniBatchCoreset], labels: Tensor) -> pl.DataFrame:
    """Return a region's mini-batch coresets as rows of the 'coresets' table.

    ``labels`` (int64, n) are those of the training set. Every coreset has its losses.
    """
    size = len(coresets[0].indices)
    indices = torch.cat([coreset.indices for coreset in coresets])
    numbers = torch.tensor([coreset.number for coreset in coresets]).repeat_interleave(size)
    losses = [coreset.losses for coreset in coresets if coreset.losses is not None]
    columns = {
        "region": torch.full_like(indices, coresets[0].region),
        "minibatch": numbers,
        "position": torch.arange(size).repeat(len(coresets)),
        "index": indices,
        "label": labels[indices],
        "weight": torch.cat([coreset.weights for coreset in coresets]),
        "loss": torch.cat(losses),
    }
    frame = pl.DataFrame({name: values.numpy() for name, values in columns.items()})
    return frame.cast(dict(TABLES["coresets"]))  # type: ignore[arg-type]
