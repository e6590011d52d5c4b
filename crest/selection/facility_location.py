"""Facility location: the m examples that stand for all r, for many subsets at once.

Chosen are the S that maximise Σ_{i∈V_p} max_{j∈S} (C − ‖g_i − g_j‖), greedily (paper, Eq. 11). The
function is monotone and submodular, so the greedy value is at least (1 − 1/e) of the best.
"""

import torch
from torch import Tensor


def pairwise_distances(gradients: Tensor) -> Tensor:
    """Euclidean distances within each subset.

    Parameters
    ----------
    gradients
        float32, P×r×d.

    Returns
    -------
    Tensor
        float32, P×r×r.
    """
    # The matrix-product form loses the small distances among learned examples to cancellation.
    return torch.cdist(gradients, gradients, compute_mode="donot_use_mm_for_euclid_dist")


def objective(distances: Tensor, picks: Tensor) -> Tensor:
    """Facility location value of picks, Σ_i max_j (C − d_ij) with C the largest distance.

    Parameters
    ----------
    distances
        P×r×r.
    picks
        int64, P×m.

    Returns
    -------
    Tensor
        P.
    """
    largest = distances.flatten(1).amax(1)
    nearest = _columns(distances, picks).amin(2)
    return (largest[:, None] - nearest).sum(1)


def greedy(distances: Tensor, size: int) -> Tensor:
    """Pick ``size`` examples of each subset, each time the one with the largest gain.

    Gains are kept up to date from one pick to the next: only the examples that the last pick
    brought nearer change anybody's gain, on average about r/k of them after k picks.

    Parameters
    ----------
    distances
        float32, P×r×r.
    size
        m, at most r.

    Returns
    -------
    Tensor
        int64, P×m, in greedy order, all different within a subset.
    """
    subsets, examples, _ = distances.shape
    rows = torch.arange(subsets, device=distances.device)
    # C − d ≥ 0 for all pairs: before the first pick every example is served at distance C.
    nearest = distances.flatten(1).amax(1)[:, None].repeat(1, examples)
    gains = (nearest[:, :, None] - distances).sum(1, dtype=torch.float64)
    picks = torch.empty(subsets, size, dtype=torch.int64, device=distances.device)
    for position in range(size):
        pick = gains.argmax(1)
        picks[:, position] = pick
        reached = distances[rows, :, pick]
        subset, example = (reached < nearest).nonzero(as_tuple=True)
        to_others = distances[subset, example]
        before = nearest[subset, example][:, None]
        after = reached[subset, example][:, None]
        lost = (before - to_others).clamp_min_(0) - (after - to_others).clamp_min_(0)
        gains.index_add_(0, subset, lost.double(), alpha=-1)
        nearest = torch.minimum(nearest, reached)
        gains[rows, pick] = -torch.inf
    return picks


def cluster_sizes(distances: Tensor, picks: Tensor) -> Tensor:
    """Count the examples whose closest pick is each pick: the weights of the paper.

    A pick always counts itself, also where another pick has the same gradient; other ties go to
    the earlier pick. The counts of a subset sum to r.

    Parameters
    ----------
    distances
        P×r×r.
    picks
        int64, P×m.

    Returns
    -------
    Tensor
        int64, P×m.
    """
    subsets, size = picks.shape
    to_picks = _columns(distances, picks)
    rows = torch.arange(subsets, device=picks.device)[:, None]
    closest = to_picks.argmin(2)
    closest[rows, picks] = torch.arange(size, device=picks.device).expand(subsets, size)
    counts = torch.zeros_like(picks)
    return counts.scatter_add_(1, closest, torch.ones_like(closest))


def _columns(distances: Tensor, picks: Tensor) -> Tensor:
    """Distances from every example to every pick, P×r×m."""
    examples = distances.shape[1]
    return distances.gather(2, picks[:, None, :].expand(-1, examples, -1))
