"""Training splits changed in memory: a share, shuffled labels, repeats, classes out of balance."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.experiments.experiment import Variation
from crest.data.prepared import Inputs, Prepared, Split


class VariedSplit:
    """Rows of another split under labels of its own.

    Parameters
    ----------
    rows
        int64, k: the example of ``split`` that each of the k examples is.
    labels
        int64, k.
    """

    def __init__(self, split: Split, rows: Tensor, labels: Tensor) -> None:
        self.labels = labels
        self.rows = rows
        self._split = split

    @property
    def lengths(self) -> Tensor | None:
        lengths = self._split.lengths
        return None if lengths is None else lengths[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self, indices: Tensor) -> Inputs:
        return self._split.inputs(self.rows[indices])

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        return self._split.draw_views(count, generator)

    def views(self, indices: Tensor, draws: Tensor) -> Inputs:
        return self._split.views(self.rows[indices], draws)


def varied(data: Prepared, variation: Variation) -> Prepared:
    """Return prepared data with its training split changed; validation and test stay."""
    kept = variation.model_dump(exclude_defaults=True)
    if not kept.keys() - {"seed"}:
        return data
    labels = data.train.labels
    generator = torch.Generator().manual_seed(variation.seed)
    rows = drawn(len(labels), variation.share, generator)
    rows = rows[thinned(labels[rows], variation.imbalance, generator)]
    right = labels[rows]
    labels = shuffled(right, variation.shuffled_labels, generator)
    labels = mistaken(labels, variation.mistaken_labels, variation.mistaken, generator)
    if variation.only_right:
        rows, labels = rows[labels == right], labels[labels == right]
    split = VariedSplit(
        data.train, rows.repeat(variation.repeated), labels.repeat(variation.repeated)
    )
    sizes = {**data.meta.sizes, "train": len(split)}
    # A saved state or coresets of other data are known by the hash.
    meta = replace(data.meta, sizes=sizes, content_hash=f"{data.meta.content_hash} {kept}")
    return replace(data, meta=meta, train=split)


def drawn(examples: int, share: float, generator: torch.Generator) -> Tensor:
    """Return the rows of a random share of the examples, in order."""
    if share == 1.0:
        return torch.arange(examples)
    kept = round(share * examples)
    return torch.randperm(examples, generator=generator)[:kept].sort().values


def thinned(labels: Tensor, imbalance: float, generator: torch.Generator) -> Tensor:
    """Return the rows kept, in order: class c of C keeps a share of imbalance^(−c / (C − 1))."""
    if imbalance == 1.0:
        return torch.arange(len(labels))
    last = max(1, int(labels.max()))
    kept = []
    for number in range(last + 1):
        members = (labels == number).nonzero().flatten()
        count = round(len(members) * imbalance ** (-number / last))
        kept.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(kept).sort().values


def shuffled(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return labels, those of a random share of the examples permuted among them."""
    chosen = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    labels = labels.clone()
    labels[chosen] = labels[chosen[torch.randperm(len(chosen), generator=generator)]]
    return labels


def mistaken(
    labels: Tensor, share: float, classes: Mapping[int, int], generator: torch.Generator
) -> Tensor:
    """Return labels, each with the chance ``share`` the one that its class is taken for."""
    if share == 0.0:
        return labels
    by = torch.arange(int(labels.max()) + 1)
    for own, other in classes.items():
        by[own] = other
    return torch.where(torch.rand(len(labels), generator=generator) < share, by[labels], labels)
