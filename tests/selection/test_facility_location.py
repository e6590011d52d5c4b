"""Greedy facility location against brute force and a plain loop."""

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crest.selection.facility_location import (
    cluster_sizes,
    greedy,
    objective,
    pairwise_distances,
)


def random_distances(subsets: int, examples: int, seed: int, dimensions: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return pairwise_distances(torch.randn(subsets, examples, dimensions, generator=generator))


def value(distances: torch.Tensor, picks: tuple[int, ...]) -> float:
    """The objective written out with plain loops, for one subset."""
    largest = float(distances.max())
    return sum(max(largest - float(distances[i, j]) for j in picks) for i in range(len(distances)))


def plain_greedy(distances: torch.Tensor, size: int) -> list[int]:
    """Every gain computed afresh for every pick."""
    picks: list[int] = []
    for _ in range(size):
        rest = [j for j in range(len(distances)) if j not in picks]
        picks.append(max(rest, key=lambda j: value(distances, (*picks, j))))
    return picks


def test_distances_are_euclidean() -> None:
    points = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]])
    expected = [[0, 5, 1], [5, 0, math.sqrt(18)], [1, math.sqrt(18), 0]]
    torch.testing.assert_close(pairwise_distances(points), torch.tensor([expected]))


def test_objective_equals_plain_loops() -> None:
    distances = random_distances(2, 7, seed=0)
    picks = torch.tensor([[0, 3], [5, 1]])
    expected = [value(distances[p], tuple(picks[p].tolist())) for p in range(2)]
    torch.testing.assert_close(objective(distances, picks), torch.tensor(expected))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), examples=st.integers(3, 9), size=st.integers(1, 3))
def test_greedy_is_within_its_bound_of_brute_force(seed: int, examples: int, size: int) -> None:
    distances = random_distances(1, examples, seed)
    best = max(value(distances[0], picks) for picks in combinations(range(examples), size))
    found = float(objective(distances, greedy(distances, size))[0])
    assert found >= (1 - 1 / math.e) * best - 1e-4
    if size == 1:
        assert found == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_equals_plain_greedy_in_each_subset(seed: int) -> None:
    distances = random_distances(4, 30, seed)
    picks = greedy(distances, 12)
    # Values are compared, not picks: of two that are each other's nearest, either may come first.
    for subset in range(4):
        found = value(distances[subset], tuple(picks[subset].tolist()))
        plain = value(distances[subset], tuple(plain_greedy(distances[subset], 12)))
        assert found == pytest.approx(plain, rel=1e-6)
        assert picks[subset, :3].tolist() == plain_greedy(distances[subset], 3)


def test_brute_force_optimum_of_separate_clusters() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    generator = torch.Generator().manual_seed(0)
    points = centres.repeat_interleave(4, 0) + 0.1 * torch.randn(12, 2, generator=generator)
    distances = pairwise_distances(points[None])
    best = max(combinations(range(12), 3), key=lambda picks: value(distances[0], picks))
    found = greedy(distances, 3)
    assert sorted(pick // 4 for pick in found[0].tolist()) == [0, 1, 2]
    assert float(objective(distances, found)[0]) == pytest.approx(
        value(distances[0], best), rel=1e-2
    )
    assert cluster_sizes(distances, found).tolist() == [[4, 4, 4]]


def test_identical_examples_are_picked_once_each_and_count_themselves() -> None:
    distances = torch.zeros(1, 6, 6)
    picks = greedy(distances, 4)
    assert len(set(picks[0].tolist())) == 4
    sizes = cluster_sizes(distances, picks)
    assert sizes.sum() == 6
    assert sizes.min() >= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 20))
def test_weights_sum_to_the_subset(seed: int, size: int) -> None:
    distances = random_distances(3, 20, seed)
    picks = greedy(distances, size)
    sizes = cluster_sizes(distances, picks)
    assert sizes.sum(1).tolist() == [20, 20, 20]
    assert all(len(set(row)) == size for row in picks.tolist())


def test_cluster_sizes_count_the_closest_pick() -> None:
    distances = random_distances(1, 15, seed=3)
    picks = greedy(distances, 4)
    counts = [0, 0, 0, 0]
    for example in range(15):
        nearest = [float(distances[0, example, pick]) for pick in picks[0]]
        counts[nearest.index(min(nearest))] += 1
    assert cluster_sizes(distances, picks).tolist() == [counts]
