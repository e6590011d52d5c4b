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
from crest.selection.facility_location import cluster_sizes, greedy, pairwise_distances
from crest.selection.gradients import GradientProxy
from crest.training.precision import Precision

NO_REGION = -1

# Subsets chosen from together: bounds the memory of their distances (4·r² bytes each) and the time
# until a run that is told to stop does.
SUBSETS_AT_ONCE = 16


@dataclass(frozen=True)
class MiniBatchCoreset:
    """One mini-batch: which examples, in which order, with which weights.

    ``indices`` int64 m and ``weights`` float32 m (mean 1) on the CPU; ``region`` and ``number``
    (within the region) say where it comes from, −1 for methods without regions; ``losses``
    float32 m as seen at selection, where they were.
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
    precision: Precision,
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
    region
        Number of the region they are chosen for.
    observe
        Called with every look at examples.
    each
        Mini-batch coresets of a subset, as :func:`choose_minibatch_coresets` chooses them.

    Returns
    -------
    list
        P·each mini-batch coresets of exactly m different examples, weights m/r times cluster size.
    """
    coresets: list[MiniBatchCoreset] = []
    for start in range(0, len(subsets), SUBSETS_AT_ONCE):
        some = subsets[start : start + SUBSETS_AT_ONCE]
        shown = look(model, split, torch.cat(list(some)), precision)
        if observe is not None:
            observe(shown)
        gradients = proxy(shown, last_layer(model))
        coresets += choose_minibatch_coresets(shown, gradients, len(some), size, each)
    return [
        replace(coreset, region=region, number=number) for number, coreset in enumerate(coresets)
    ]


def choose_minibatch_coresets(
    shown: Look, gradients: Tensor, subsets: int, size: int, each: int = 1
) -> list[MiniBatchCoreset]:
    """Choose by greedy facility location in each of the subsets that were looked at together.

    Several mini-batch coresets of one subset have no example in common, and each stands for all of
    the subset: a later one is picked from what the earlier ones left.

    Parameters
    ----------
    gradients
        float32, (subsets·r)×d, of the examples in ``shown``.
    each
        Mini-batch coresets of a subset; ``each``·m is at most r.

    Returns
    -------
    list
        subsets·each mini-batch coresets, those of a subset together.
    """
    examples = len(gradients) // subsets
    distances = pairwise_distances(gradients.view(subsets, examples, -1))
    losses = shown.losses.view(subsets, examples)
    indices = shown.indices.view(subsets, examples)
    taken = torch.empty(subsets, 0, dtype=torch.int64, device=distances.device)
    rounds = []
    for _ in range(each):
        picks = greedy(distances, size, taken)
        taken = torch.cat([taken, picks], 1)
        weights = cluster_sizes(distances, picks).float() * (size / examples)
        chosen_losses = losses.gather(1, picks).cpu()
        rounds.append((indices.gather(1, picks.cpu()), weights.cpu(), chosen_losses))
    return [
        MiniBatchCoreset(chosen[subset], weights[subset], seen[subset])
        for subset in range(subsets)
        for chosen, weights, seen in rounds
    ]


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
