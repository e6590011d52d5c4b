"""Facility location: the m examples that stand for all r, for many subsets at once.

Chosen are the S that maximise Σ_{i∈V_p} max_{j∈S} (C − ‖g_i − g_j‖), greedily (paper, Eq. 11). The
function is monotone and submodular, so the greedy value is at least (1 − 1/e) of the best.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread, where operations are too short to be worth sharing.

    Waiting for each other after each of them costs more than it saves, and much more where other
    processes keep a core busy.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def pairwise_distances(gradients: Tensor) -> Tensor:
    """Euclidean distances within each subset.

    Parameters
    ----------
    gradients
        float32, P×r×d.

    Returns
    -------
    Tensor
        float32, P×r×r, symmetric up to rounding, zero on the diagonals.
    """
    subsets, examples, _ = gradients.shape
    distances = gradients.new_empty(subsets, examples, examples)
    # In float32 the matrix product would lose the small distances among learned examples to
    # cancellation. One subset after another, so that its products stay in the processor's cache.
    for gradient, distance in zip(gradients.double(), distances, strict=True):
        norms = gradient.square().sum(1)
        squares = torch.addmm(norms, gradient, gradient.T, alpha=-2).add_(norms[:, None])
        distance.copy_(squares).clamp_min_(0).sqrt_().fill_diagonal_(0)
    return distances


def objective(distances: Tensor, picks: Tensor) -> Tensor:
    """Facility location value of picks, Σ_i max_j (C − d_ij) with C the largest distance.

    Parameters
    ----------
    distances
        P×r×r, symmetric.
    picks
        int64, P×m.

    Returns
    -------
    Tensor
        P.
    """
    largest = distances.flatten(1).amax(1)
    nearest = _rows(distances, picks).amin(1)
    return (largest[:, None] - nearest).sum(1)


def greedy(distances: Tensor, size: int, taken: Tensor | None = None) -> Tensor:
    """Pick ``size`` examples of each subset, each time the one with the largest gain.

    Parameters
    ----------
    distances
        float32, P×r×r, symmetric.
    size
        m, at most r.
    taken
        int64, P×k: examples that must not be picked; the picks stand for them too.

    Returns
    -------
    Tensor
        int64, P×m, in greedy order, all different within a subset.
    """
    if taken is None:
        taken = torch.empty(len(distances), 0, dtype=torch.int64, device=distances.device)
    form = greedy_by_changes if distances.device.type == "cpu" else greedy_afresh
    return form(distances, size, taken)


def greedy_afresh(distances: Tensor, size: int, taken: Tensor) -> Tensor:
    """Greedy picks (as :func:`greedy`), every gain computed afresh for every pick.

    A few large operations that the host need not wait for: the form for accelerators.
    """
    subsets, examples, _ = distances.shape
    rows = torch.arange(subsets, device=distances.device)
    # C − d ≥ 0 for all pairs: before the first pick every example is served at distance C.
    nearest = distances.flatten(1).amax(1)[:, None].repeat(1, examples)
    picked = taken
    for _ in range(size):
        gains = (nearest[:, None] - distances).clamp_min_(0).sum(2, dtype=torch.float64)
        pick = gains.scatter_(1, picked, -torch.inf).argmax(1)
        picked = torch.cat([picked, pick[:, None]], 1)
        nearest = torch.minimum(nearest, distances[rows, pick])
    return picked[:, taken.shape[1] :]


@one_thread()
def greedy_by_changes(distances: Tensor, size: int, taken: Tensor) -> Tensor:
    """Greedy picks (as :func:`greedy`), gains kept up to date from one pick to the next.

    Only the examples that the last pick brought nearer change anybody's gain; after the first pick
    they are few. What then bounds the time is the cost of calling operations: all subsets advance
    together to share it, and most operations are NumPy's, which cost less to call than PyTorch's.
    """
    subsets, examples, _ = distances.shape
    starts = np.arange(subsets) * examples
    first = distances.sum(2).scatter_(1, taken, torch.inf).argmin(1)
    nearest = distances[torch.arange(subsets), first]
    # Gains up to a constant of the subset: minus the distances that a pick would leave, in all.
    gains = torch.stack(
        [
            -torch.minimum(near, to_others).double().sum(1)
            for near, to_others in zip(nearest, distances, strict=True)
        ]
    ).scatter_(1, taken, -torch.inf)
    # Views that share memory: every subset's examples one after another.
    rows, served, current = distances.flatten(0, 1).numpy(), nearest.view(-1).numpy(), gains.numpy()
    flat = current.ravel()
    owners = np.arange(subsets).repeat(examples)
    picks = np.empty((size, subsets), np.int64)
    picks[0] = starts + first.numpy()
    for position in range(1, size):
        flat[picks[position - 1]] = -np.inf
        picks[position] = starts + current.argmax(1)
        reached = rows.take(picks[position], 0).ravel()
        changed = (reached < served).nonzero()[0]
        before, after = served[changed], reached[changed]
        served[changed] = after
        # What an example at distance d adds to a gain was before − min(before, d) and is now
        # after − min(after, d): less by before − clamp(d, after, before), again up to a constant.
        change = rows.take(changed, 0)
        np.maximum(change, after[:, None], out=change)
        np.minimum(change, before[:, None], out=change)
        wide = torch.from_numpy(change.astype(np.float64))
        gains.index_add_(0, torch.from_numpy(owners[changed]), wide)  # NumPy has none as fast
    return torch.from_numpy((picks - starts).T.copy())


@one_thread()
def cluster_sizes(distances: Tensor, picks: Tensor) -> Tensor:
    """Count the examples whose closest pick is each pick: the weights of the paper.

    A pick always counts itself, also where another pick has the same gradient; other ties go to
    the earlier pick. The counts of a subset sum to r.

    Parameters
    ----------
    distances
        P×r×r, symmetric.
    picks
        int64, P×m.

    Returns
    -------
    Tensor
        int64, P×m.
    """
    size = picks.shape[1]
    closest = _rows(distances, picks).min(1).indices
    closest.scatter_(1, picks, torch.arange(size, device=picks.device).expand_as(picks))
    counts = torch.zeros_like(picks)
    return counts.scatter_add_(1, closest, torch.ones_like(closest))


def _rows(distances: Tensor, picks: Tensor) -> Tensor:
    """Distances from every pick to every example, P×m×r."""
    subsets, examples, _ = distances.shape
    starts = torch.arange(subsets, device=picks.device)[:, None] * examples
    rows = distances.flatten(0, 1).index_select(0, (starts + picks).flatten())
    return rows.view(subsets, -1, examples)
