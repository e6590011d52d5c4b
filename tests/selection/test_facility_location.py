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
    greedy_afresh,
    greedy_by_changes,
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


def test_what_is_taken_is_not_picked_and_the_rest_as_if_it_were_not_there() -> None:
    distances = random_distances(2, 12, seed=3)
    taken = greedy(distances, 4)
    picks = greedy(distances, 5, taken)
    for subset in range(2):
        assert not set(picks[subset].tolist()) & set(taken[subset].tolist())
        expected: list[int] = []
        rest = [j for j in range(12) if j not in taken[subset].tolist()]
        for _ in range(5):
            left = [j for j in rest if j not in expected]
            expected.append(max(left, key=lambda j: value(distances[subset], (*expected, j))))
        assert picks[subset].tolist() == expected


def whole_distances(subsets: int, examples: int, seed: int, largest: int = 4) -> torch.Tensor:
    """Distances that are whole numbers: every sum of them is exact, and many gains are equal."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randint(0, largest, (subsets, examples, 2), generator=generator)
    return (points[:, :, None] - points[:, None]).abs().sum(3).float()


def first_of_the_best(distances: torch.Tensor, size: int, taken: list[int]) -> list[int]:
    """Greedy picks of one subset written out; of equal gains, the first example's."""
    picks: list[int] = []
    for _ in range(size):
        rest = [j for j in range(len(distances)) if j not in {*taken, *picks}]
        left = {j: float(distances[[*picks, j]].amin(0).sum()) for j in rest}
        picks.append(min(rest, key=lambda j: left[j]))
    return picks


def test_distances_are_euclidean() -> None:
    points = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]])
    expected = [[0, 5, 1], [5, 0, math.sqrt(18)], [1, math.sqrt(18), 0]]
    torch.testing.assert_close(pairwise_distances(points), torch.tensor([expected]))


@pytest.mark.parametrize("dimensions", [10, 100])
def test_distances_of_nearly_identical_examples_are_accurate(dimensions: int) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(1, 1, dimensions, generator=generator).repeat(2, 40, 1)
    points += 1e-4 * torch.randn(2, 40, dimensions, generator=generator)
    exact = torch.cdist(
        points.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    torch.testing.assert_close(pairwise_distances(points).double(), exact, rtol=1e-5, atol=1e-9)


def test_identical_examples_are_at_no_distance() -> None:
    points = torch.rand(1, 1, 7, generator=torch.Generator().manual_seed(0)).repeat(1, 9, 1)
    distances = pairwise_distances(points)
    assert distances.max() < 1e-6
    assert not distances.diagonal(dim1=1, dim2=2).any()


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


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 12), skip=st.integers(0, 8))
def test_both_forms_pick_the_same_also_where_gains_are_equal(
    seed: int, size: int, skip: int
) -> None:
    distances = whole_distances(3, 20, seed)
    generator = torch.Generator().manual_seed(seed)
    taken = torch.stack([torch.randperm(20, generator=generator)[:skip] for _ in range(3)])
    expected = [first_of_the_best(distances[p], size, taken[p].tolist()) for p in range(3)]
    assert greedy_by_changes(distances, size, taken).tolist() == expected
    assert greedy_afresh(distances, size, taken).tolist() == expected
    assert greedy(distances, size, taken).tolist() == expected


@pytest.mark.parametrize("dimensions", [3, 50])
def test_both_forms_reach_the_value_of_a_float64_greedy(dimensions: int) -> None:
    distances = random_distances(3, 200, seed=1, dimensions=dimensions)
    none = torch.empty(3, 0, dtype=torch.int64)
    exact = objective(distances.double(), greedy_afresh(distances.double(), 50, none))
    for form in (greedy_by_changes, greedy_afresh):
        found = objective(distances.double(), form(distances, 50, none))
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=0)


def test_small_gains_count_beside_large_ones() -> None:
    """Two far groups, each of two near ones: gains of a later pick are 1e-7 of the first's."""
    places = torch.tensor([0.0, 1e-3, 1e4, 1e4 + 1e-2], dtype=torch.float64)
    points = places.repeat_interleave(25)
    distances = (points[:, None] - points).abs().float()[None]
    none = torch.empty(1, 0, dtype=torch.int64)
    for form in (greedy_by_changes, greedy_afresh):
        picks = form(distances, 4, none)[0]
        assert sorted((picks // 25).tolist()) == [0, 1, 2, 3]


def test_every_example_can_be_picked_and_all_are_different() -> None:
    distances = torch.cat([whole_distances(2, 15, seed=4), torch.zeros(1, 15, 15)])
    none = torch.empty(3, 0, dtype=torch.int64)
    for form in (greedy_by_changes, greedy_afresh):
        assert form(distances, 15, none).sort(1).values.tolist() == [list(range(15))] * 3


def test_number_of_threads_does_not_matter_and_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4, 200, 30, generator=generator)
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            distances = pairwise_distances(points)
            picks = greedy(distances, 60)
            assert torch.get_num_threads() == number
            found.append((distances, picks, cluster_sizes(distances, picks)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


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
