"""Nearest neighbours by cosine, exactly and block by block; what they say of copies and strays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ROWS, COLUMNS = 2048, 8192  # of the similarities that are held at once
STRAY = 3.5  # deviations from the median, by the median absolute one (Iglewicz and Hoaglin, 1993)
NORMAL = 1.4826  # by which a median absolute deviation is a standard one, of normal values
NONE = -1

Rows = np.ndarray[Any, Any] | Tensor


@dataclass(frozen=True)
class Neighbours:
    """The nearest of q examples among n others, on the CPU.

    ``indices`` int64 q×k, nearest first, ``similarities`` float32 q×k; ``copied`` int64 q: the
    first of those that are as similar as a copy, :data:`NONE` for none.
    """

    indices: Tensor
    similarities: Tensor
    copied: Tensor


def nearest(
    queries: Rows, keys: Rows, count: int, copies_from: float, device: torch.device
) -> Neighbours:
    """Find the nearest neighbours of each query among the keys, by the cosine of their features.

    All pairs are compared, in float32; memory does not grow with their number. Time does: two
    operations for each pair and feature.

    Parameters
    ----------
    queries, keys
        q×d and n×d, of any floating type; the same object where examples are compared among
        themselves: none is then its own neighbour, and a copy is of an earlier one.
    count
        Neighbours, k; as many as there are, where that is less.
    copies_from
        Cosine from which an example counts as a copy.
    device
        Where pairs are compared.
    """
    itself = queries is keys
    count = min(count, len(keys) - itself)
    parts = [
        _of_block(queries, keys, start, count, copies_from, itself, device)
        for start in range(0, len(queries), ROWS)
    ]
    similarities, indices, copied = (torch.cat(part) for part in zip(*parts, strict=True))
    return Neighbours(indices, similarities, copied)


def _of_block(
    queries: Rows,
    keys: Rows,
    start: int,
    count: int,
    copies_from: float,
    itself: bool,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    block = _unit(queries, start, ROWS, device)
    own = torch.arange(start, start + len(block), device=device)[:, None]
    best = block.new_full((len(block), 0), -torch.inf)
    places = torch.empty(len(block), 0, dtype=torch.int64, device=device)
    copied = torch.full((len(block),), len(keys), device=device)
    for first in range(0, len(keys), COLUMNS):
        similarities = block @ _unit(keys, first, COLUMNS, device).T
        columns = torch.arange(first, first + similarities.shape[1], device=device)
        if itself:
            similarities.masked_fill_(columns == own, -torch.inf)
        similar = similarities >= copies_from
        if itself:
            similar &= columns < own
        found = torch.where(similar.any(1), first + similar.int().argmax(1), len(keys))
        copied = torch.minimum(copied, found)
        values, positions = similarities.topk(min(count, similarities.shape[1]), 1)
        best = torch.cat([best, values], 1)
        places = torch.cat([places, columns[positions]], 1)
        best, order = best.topk(min(count, best.shape[1]), 1)
        places = places.gather(1, order)
    copied = copied.where(copied < len(keys), NONE)
    return best.cpu(), places.cpu(), copied.cpu()


def _unit(rows: Rows, start: int, count: int, device: torch.device) -> Tensor:
    """Return some rows as unit vectors in float32; a row of zeros stays so."""
    part = rows[start : start + count]
    tensor = part if isinstance(part, Tensor) else torch.from_numpy(np.ascontiguousarray(part))
    return F.normalize(tensor.to(device, torch.float32), dim=1)


def originals(copied: Tensor) -> Tensor:
    """Return the first of the chain of copies that each example belongs to, :data:`NONE` for none.

    Parameters
    ----------
    copied
        int64, n, of :func:`nearest` among themselves.
    """
    found = copied.clone()
    while True:
        further = torch.where(found == NONE, NONE, found[found.clamp(min=0)])
        if bool((further == NONE).all()):
            return found
        found = torch.where(further == NONE, found, further)


def agreement(neighbours: Neighbours, labels: Tensor, of_keys: Tensor) -> Tensor:
    """Return which share of each example's neighbours has its label, float32."""
    return (of_keys[neighbours.indices] == labels[:, None]).float().mean(1)


def distances(neighbours: Neighbours) -> Tensor:
    """Return each example's mean distance from its neighbours, 1 less the cosine, float32.

    References
    ----------
    Ramaswamy, Rastogi and Shim, Efficient algorithms for mining outliers from large data sets,
    SIGMOD 2000; the mean over neighbours after Angiulli and Pizzuti, PKDD 2002.
    """
    return 1.0 - neighbours.similarities.mean(1)


def strays(distance: Tensor) -> Tensor:
    """Return which distances lie far above the others', bool."""
    median = distance.median()
    deviation = NORMAL * (distance - median).abs().median()
    return distance > median + STRAY * deviation
