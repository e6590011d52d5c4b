"""Mini-batch coresets: a weighted mini-batch chosen from each random subset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch
from torch import Tensor, nn

from crest.artifacts import TABLES
from crest.data.prepared import Split
from crest.inference import Look, look
from crest.models.head import last_layer
from crest.selection.choices import Choice
from crest.selection.facility_location import pairwise_distances
from crest.selection.gradients import GradientProxy
from crest.training.precision import Precision

NO_REGION = -1

# Subsets chosen from together: bounds the memory of their distances (4·r² bytes each) and the time
# until a run that is told to stop does.
SUBSETS_AT_ONCE = 16


@dataclass(frozen=True)
class MiniBatchCoreset:
    """One mini-batch: which examples, in which order, with which weights.

    ``indices`` int64 m and ``weights`` float32 m (mean 1, or a random part of a larger coreset's
    of mean 1) on the CPU; ``region`` and ``number`` (within the region) say where it comes from,
    −1 for methods without regions; ``losses`` float32 m as seen at selection, where they were.
    """

    indices: Tensor
    weights: Tensor
    losses: Tensor | None = None
    region: int = NO_REGION
    number: int = NO_REGION


def uniform(indices: Tensor) -> MiniBatchCoreset:
    """Return a plain mini-batch, every weight 1."""
    return MiniBatchCoreset(indices, torch.ones(len(indices)))


def select_minibatch_coresets(
    model: nn.Module,
    split: Split,
    subsets: Sequence[Tensor],
    size: int,
    proxy: GradientProxy,
    choice: Choice,
    precision: Precision,
    generator: torch.Generator,
    region: int = NO_REGION,
    observe: Callable[[Look], None] | None = None,
    each: int = 1,
) -> list[MiniBatchCoreset]:
    """Choose mini-batch coresets from each random subset V_p: one of them in the paper (Eq. 11).

    Parameters
    ----------
    subsets
        P index tensors, int64, all of r different examples.
    size
        m, at most r.
    generator
        On the CPU, for choices that draw.
    region
        Number of the region they are chosen for.
    observe
        Called with every look at examples.
    each
        Mini-batch coresets of a subset, as :func:`choose_minibatch_coresets` chooses them.

    Returns
    -------
    list
        P·each mini-batch coresets of exactly m different examples, those of a subset together.
    """
    coresets: list[MiniBatchCoreset] = []
    for start in range(0, len(subsets), SUBSETS_AT_ONCE):
        some = subsets[start : start + SUBSETS_AT_ONCE]
        shown = look(model, split, torch.cat(list(some)), precision)
        if observe is not None:
            observe(shown)
        gradients = proxy(shown, last_layer(model))
        coresets += choose_minibatch_coresets(
            shown, gradients, len(some), size, choice, generator, each
        )
    return [
        replace(coreset, region=region, number=number) for number, coreset in enumerate(coresets)
    ]


def choose_minibatch_coresets(
    shown: Look,
    gradients: Tensor,
    subsets: int,
    size: int,
    choice: Choice,
    generator: torch.Generator,
    each: int = 1,
) -> list[MiniBatchCoreset]:
    """Choose mini-batch coresets in each of the subsets that were looked at together.

    Parameters
    ----------
    gradients
        float32, (subsets·r)×d, of the examples in ``shown``.
    each
        Mini-batch coresets of a subset, which share no example; ``each``·m is at most r.

    Returns
    -------
    list
        subsets·each mini-batch coresets, those of a subset together.
    """
    examples = len(gradients) // subsets
    distances = pairwise_distances(gradients.view(subsets, examples, -1))
    chosen = choice(distances, size, each, generator)
    picks = chosen.picks.flatten(1)
    indices = shown.indices.view(subsets, examples).gather(1, picks.cpu())
    losses = shown.losses.view(subsets, examples).gather(1, picks).cpu()
    rows = (values.reshape(-1, size) for values in (indices, chosen.weights.cpu(), losses))
    return [MiniBatchCoreset(*row) for row in zip(*rows, strict=True)]


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
