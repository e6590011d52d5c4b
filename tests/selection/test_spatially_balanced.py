"""Balanced sampling: exact sizes and chances, and less variance than a random mini-batch."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from crest.selection.spatially_balanced import Neighbours, disjoint_samples, local_pivotal


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(distances: np.ndarray, size: int, source: torch.Generator) -> np.ndarray:
    """What is drawn from all of a subset."""
    return np.array(local_pivotal(Neighbours(distances), range(len(distances)), size, source))


def on_a_line(places: list[float]) -> np.ndarray:
    line = np.array(places, dtype=np.float32)
    return np.abs(line[:, None] - line[None, :])


def random_distances(count: int, dimensions: int = 2, seed: int = 1) -> torch.Tensor:
    points = torch.randn(count, dimensions, generator=generator(seed))
    return torch.cdist(points, points)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 1), (7, 3), (40, 13), (40, 40), (64, 32)])
def test_exactly_m_different_examples(count: int, size: int) -> None:
    for seed in range(20):
        picks = drawn(random_distances(count).numpy(), size, generator(seed))
        assert len(set(picks.tolist())) == size
        assert picks.min() >= 0
        assert picks.max() < count


def test_every_example_has_the_same_chance() -> None:
    """Of 7 examples 3 are drawn: each in 3/7 of the draws, also one far from all others."""
    distances = on_a_line([0.0, 0.1, 0.2, 0.3, 5.0, 5.1, 90.0])
    source, draws = generator(), 6000
    counts = np.zeros(7)
    for _ in range(draws):
        counts[drawn(distances, 3, source)] += 1
    error = (3 / 7 * 4 / 7 / draws) ** 0.5
    assert np.abs(counts / draws - 3 / 7).max() < 4 * error


def test_of_twins_exactly_one_is_drawn() -> None:
    """Half of pairs that coincide: each pair meets itself, and one of it is in."""
    distances = on_a_line([0.0, 0.0, 1.0, 1.0, 2.5, 2.5, 7.0, 7.0])
    for seed in range(50):
        picks = drawn(distances, 4, generator(seed))
        assert [place // 2 for place in picks.tolist()] == [0, 1, 2, 3]


def test_its_mean_is_unbiased_and_varies_less_than_a_random_mini_batch() -> None:
    points = torch.randn(60, 2, generator=generator(3)).double()
    distances = torch.cdist(points, points).float().numpy()
    source, draws = generator(), 1500
    means = torch.stack([points[drawn(distances, 15, source)].mean(0) for _ in range(draws)])
    errors = means - points.mean(0)
    # Of simple random sampling without replacement.
    random = points.var(0) / 15 * (1 - 15 / 60)
    assert (errors.mean(0).abs() < 4 * errors.std(0) / draws**0.5).all()
    assert (errors.var(0) < 0.3 * random).all()


def plain_pivotal(distances: np.ndarray, size: int, source: torch.Generator) -> list[int]:
    """The same method with every neighbour searched among all, one by one."""
    count = len(distances)
    draws = iter(torch.rand(2 * count, generator=source, dtype=torch.float64).tolist())
    chances, undecided = [size] * count, list(range(count))

    def decide(example: int) -> None:
        place, last = undecided.index(example), undecided.pop()
        if last != example:
            undecided[place] = last

    while len(undecided) > 1:
        first = undecided[int(next(draws) * len(undecided))]
        others = sorted(other for other in undecided if other != first)
        second = min(others, key=lambda other: distances[first, other])
        both = chances[first] + chances[second]
        settled = 0 if both < count else count
        if next(draws) < abs(chances[second] - settled) / abs(both - 2 * settled):
            first, second = second, first
        chances[first], chances[second] = both - settled, settled
        decide(second)
        if chances[first] in (0, count):
            decide(first)
    return [example for example in range(count) if chances[example] == count]


@pytest.mark.parametrize("size", [1, 20, 63])
def test_everyone_meets_the_nearest_and_of_equally_near_ones_the_first(size: int) -> None:
    """Of 64, more than are listed; a third coincide, so that many are equally near."""
    points = torch.randn(64, 2, generator=generator(7))
    points[::3] = points[0]
    distances = torch.cdist(points, points).numpy()
    for seed in range(10):
        found = drawn(distances, size, generator(seed)).tolist()
        assert found == plain_pivotal(distances, size, generator(seed))


def test_the_distances_are_left_as_they_are() -> None:
    distances = random_distances(20).numpy()
    before = distances.copy()
    drawn(distances, 5, generator())
    assert (distances == before).all()


def test_a_draw_depends_on_the_generator_alone() -> None:
    distances = random_distances(50).numpy()
    draws = [drawn(distances, 10, generator(seed)).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_dealing_out_all_of_a_subset_uses_every_example_once() -> None:
    drawn = disjoint_samples(random_distances(40)[None].repeat(2, 1, 1), 10, 4, generator())
    assert drawn.shape == (2, 4, 10)
    assert drawn.dtype == torch.int64
    for subset in drawn:
        assert subset.flatten().sort().values.tolist() == list(range(40))


def test_later_mini_batches_have_the_same_chances() -> None:
    distances = torch.from_numpy(on_a_line([0.0, 0.1, 0.3, 4.0, 4.2, 9.0]))[None]
    source, draws = generator(), 3000
    counts = torch.zeros(2, 6)
    for _ in range(draws):
        for number, picks in enumerate(disjoint_samples(distances, 2, 2, source)[0]):
            counts[number, picks] += 1
    error = (1 / 3 * 2 / 3 / draws) ** 0.5
    assert (counts / draws - 1 / 3).abs().max() < 4 * error


def test_each_mini_batch_resembles_its_subset() -> None:
    """Four clusters of ten: each of five mini-batches of eight has two of each."""
    centres = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
    points = centres.repeat_interleave(10, 0) + torch.randn(40, 2, generator=generator(4))
    drawn = disjoint_samples(torch.cdist(points, points)[None], 8, 5, generator())[0]
    for picks in drawn:
        counts = torch.bincount(picks // 10, minlength=4)
        assert counts.tolist() == [2, 2, 2, 2]


def test_rising_order() -> None:
    for picks in disjoint_samples(random_distances(30)[None], 7, 3, generator())[0]:
        assert all(first < second for first, second in pairwise(picks.tolist()))
