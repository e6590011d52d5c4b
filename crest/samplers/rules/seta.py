"""SeTa: of a random part those clusters of losses that a window holds, from easy to hard.

Zhou et al., *Scale Efficient Training for Large Datasets*, CVPR 2025, arXiv 2503.13385.
"""

import torch
from torch import Tensor

from crest.samplers.rules.rule import Observed, Round, Rule, require, some_of

MOST_MEANS_STEPS = 100  # of k-means, which ends when no boundary moves


def seta(ratio: float = 0.1, clusters: int = 5, window: float = 0.9, until: float = 0.875) -> Rule:
    """Return the rule: a random (1 − r)n, its losses in G clusters by k-means, a window of which.

    The window holds ⌊G·w⌉ neighbouring clusters, and moves from easy to hard by one each round,
    then begins again. The first round is of all clusters.

    Parameters
    ----------
    ratio
        r, the share that is left out at random.
    clusters
        G, the clusters of losses.
    window
        w, the share of the clusters that take part.
    until
        δ, the share of the steps after which rounds are of all clusters.

    Raises
    ------
    ParameterError
        If one is out of range.
    """
    require("seta", "ratio", ratio, 0.0, 0.999)
    require("seta", "clusters", clusters, 1, 1000, whole=True)
    require("seta", "window", window, 1e-6, 1.0)
    require("seta", "until", until, 0.0, 1.0)
    wide = max(round(clusters * window), 1)

    def draw(observed: Observed, generator: torch.Generator) -> Round | None:
        count = len(observed.losses)
        some = some_of(torch.arange(count), round((1 - ratio) * count), generator)
        if observed.progress >= until or observed.rounds == 0:
            return Round(some)
        losses = observed.losses[some]
        known = ~losses.isnan()
        cluster = torch.zeros(len(some), dtype=torch.int64)
        cluster[known] = clustered(losses[known], clusters)
        first = observed.rounds % (clusters - wide + 1)
        inside = (cluster >= first) & (cluster < first + wide)
        return Round(some[inside | ~known])

    return Rule(draw)


def clustered(values: Tensor, count: int) -> Tensor:
    """Return the cluster of each value by k-means, int64 k, from 0 for the lowest.

    Lloyd's algorithm (1982) from equal quantiles; in one dimension clusters are stretches of the
    sorted values, so that only their boundaries move.
    """
    order = values.argsort(stable=True)
    ordered = values[order].double()
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), ordered.cumsum(0)])
    ends = torch.arange(1, count) * len(values) // count
    for _ in range(MOST_MEANS_STEPS):
        bounds = torch.cat([torch.tensor([0]), ends, torch.tensor([len(values)])])
        sizes = (bounds[1:] - bounds[:-1]).clamp(min=1)
        means = (sums[bounds[1:]] - sums[bounds[:-1]]) / sizes
        moved = torch.searchsorted(ordered, (means[1:] + means[:-1]) / 2, right=True)
        moved = moved.cummax(0).values
        if torch.equal(moved, ends):
            break
        ends = moved
    cluster = torch.empty(len(values), dtype=torch.int64)
    cluster[order] = torch.searchsorted(ends, torch.arange(len(values)), right=True)
    return cluster
