"""Ways to choose mini-batches from the gradients of each random subset.

Several mini-batches of one subset have no example in common, and each stands for all of the
subset.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from crest.errors import ParameterError, not_one_of
from crest.selection import spatially_balanced as balanced
from crest.selection import spatially_stratified as stratified
from crest.selection.facility_location import cluster_sizes, greedy, pairwise_distances
from crest.selection.unweighted import UNWEIGHTED

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """Mini-batches of P subsets, ``each`` of a subset: places in the subset, and weights.

    ``picks`` int64 and ``weights`` float32 (mean 1 within a mini-batch), both P×each×m.
    """

    picks: Tensor
    weights: Tensor


# Called with gradients (float32, P×r×d), m, each and the method's generator on the CPU.
Choice = Callable[[Tensor, int, int, torch.Generator], Chosen]


def facility_location(
    gradients: Tensor, size: int, each: int, generator: torch.Generator
) -> Chosen:
    """Choose greedily by facility location, weighted by cluster sizes (paper, Eq. 11).

    A later mini-batch is picked from what the earlier ones left. Nothing is drawn.
    """
    distances = pairwise_distances(gradients)
    taken = torch.empty(len(distances), 0, dtype=torch.int64, device=distances.device)
    picks, weights = [], []
    for _ in range(each):
        picks.append(greedy(distances, size, taken))
        taken = torch.cat([taken, picks[-1]], 1)
        weights.append(cluster_sizes(distances, picks[-1]).float() * (size / distances.shape[1]))
    return Chosen(torch.stack(picks, 1), torch.stack(weights, 1))


def medoids(gradients: Tensor, size: int, each: int, generator: torch.Generator) -> Chosen:
    """Choose as :func:`facility_location`, every weight 1: what the cluster sizes are worth."""
    picks = facility_location(gradients, size, each, generator).picks
    return Chosen(picks, torch.ones_like(picks, dtype=torch.float32))


def spatially_balanced(
    gradients: Tensor, size: int, each: int, generator: torch.Generator
) -> Chosen:
    """Draw by :mod:`crest.selection.spatially_balanced`, without bias; every weight is 1."""
    distances = pairwise_distances(gradients)
    picks = balanced.disjoint_samples(distances, size, each, generator).to(distances.device)
    return Chosen(picks, torch.ones_like(picks, dtype=torch.float32))


def spatially_stratified(
    gradients: Tensor, size: int, each: int, generator: torch.Generator
) -> Chosen:
    """Draw by :mod:`crest.selection.spatially_stratified`, without bias; every weight is 1."""
    picks = stratified.disjoint_samples(gradients, size, each, generator)
    return Chosen(picks, torch.ones_like(picks, dtype=torch.float32))


CHOICES: Mapping[str, Choice] = {
    "facility_location": facility_location,
    "medoids": medoids,
    "spatially_stratified": spatially_stratified,
    "spatially_balanced": spatially_balanced,
}
UNBIASED = ("spatially_stratified", "spatially_balanced")  # by chance, the same one for everyone


def find_choice(name: str, key: str = "crest.choice") -> Choice:
    """Look up a way to choose; an unknown one is a :class:`ParameterError` that names ``key``."""
    if name not in CHOICES:
        raise ParameterError(f"{key}: {not_one_of(name, CHOICES)}")
    return CHOICES[name]


def warn_of_choice(name: str, key: str) -> None:
    """Say so where what is chosen is known to lead training astray."""
    if name == "medoids":
        logger.warning("%s: %s", key, UNWEIGHTED)
