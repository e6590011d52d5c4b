"""The rows of a run's coresets, kept as long as it lasts: they grow with every step."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from crest.artifacts import TABLES
from crest.devices.number_types import number_type
from crest.selection.coresets import MiniBatchCoreset

# Mini-batch coresets whose columns are put together at once: tensors of a few rows are mostly
# their own bookkeeping.
BLOCK = 256

# Of each pick: index, weight and loss; of each mini-batch coreset: region, number and size.
Columns = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
NAMES = ("indices", "weights", "losses", "regions", "numbers", "sizes")


class CoresetRows:
    """Takes mini-batch coresets and gives the 'coresets' table of all of them.

    A pick takes 12 bytes (16 from 2³¹ examples on) where its row of the table takes 36: what the
    labels and the order of the picks tell is not kept.

    Parameters
    ----------
    labels
        int64, n, of the training set.
    """

    def __init__(self, labels: Tensor) -> None:
        self._labels = labels
        self._type = number_type(len(labels))
        self._blocks: list[Columns] = []
        self._waiting: list[MiniBatchCoreset] = []

    def add(self, coresets: Sequence[MiniBatchCoreset]) -> None:
        """Take coresets; every one has its losses."""
        self._waiting += coresets
        if len(self._waiting) >= BLOCK:
            self._put_together()

    def frame(self) -> pl.DataFrame:
        """Return the 'coresets' table."""
        indices, weights, losses, regions, numbers, sizes = self._columns()
        index, lengths = indices.long(), sizes.long()
        starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        columns = {
            "region": regions.repeat_interleave(lengths),
            "minibatch": numbers.repeat_interleave(lengths),
            "position": (torch.arange(len(index)) - starts).int(),
            "index": index,
            "label": self._labels[index],
            "weight": weights,
            "loss": losses,
        }
        frame = {name: values.numpy() for name, values in columns.items()}
        return pl.DataFrame(frame, schema=dict(TABLES["coresets"]))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        return dict(zip(NAMES, self._columns(), strict=True))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the coresets of a saved state."""
        indices, weights, losses, regions, numbers, sizes = (state[name] for name in NAMES)
        self._blocks = [(indices, weights, losses, regions, numbers, sizes)]
        self._waiting = []

    def _columns(self) -> Columns:
        """Return all that is kept, in one block."""
        self._put_together()
        if len(self._blocks) > 1:
            self._blocks = [_joined(self._blocks)]
        return self._blocks[0]

    def _put_together(self) -> None:
        if not self._waiting and self._blocks:
            return
        waiting, self._waiting = self._waiting, []
        losses = [coreset.losses for coreset in waiting if coreset.losses is not None]
        counts = [[each.region, each.number, len(each.indices)] for each in waiting]
        regions, numbers, sizes = torch.tensor(counts, dtype=torch.int32).view(-1, 3).T.unbind()
        block = (
            torch.cat([torch.empty(0, dtype=torch.int64), *(each.indices for each in waiting)]),
            torch.cat([torch.empty(0), *(each.weights for each in waiting)]),
            torch.cat([torch.empty(0), *losses]),
            regions.contiguous(),
            numbers.contiguous(),
            sizes.contiguous(),
        )
        self._blocks.append((block[0].to(self._type), *block[1:]))


def _joined(blocks: Sequence[Columns]) -> Columns:
    indices, weights, losses, regions, numbers, sizes = map(torch.cat, zip(*blocks, strict=True))
    return indices, weights, losses, regions, numbers, sizes
