"""One example of each group of near ones: exact sizes and chances, less variance than random."""

import numpy as np
import pytest
import torch
from torch import Tensor

from crest.selection import spatially_stratified
from crest.selection.spatially_stratified import disjoint_samples
from tests.simulated_device import CPU, SimulatedDevice


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on_a_line(places: list[float]) -> Tensor:
    return torch.tensor(places)[None, :, None]


def random_vectors(count: int, seed: int = 1, subsets: int = 1, dimensions: int = 2) -> Tensor:
    return torch.randn(subsets, count, dimensions, generator=generator(seed))


@pytest.mark.parametrize(
    ("count", "size", "each"),
    [
        (1, 1, 1),
        (2, 1, 2),
        (7, 3, 2),
        (40, 13, 3),
        (40, 40, 1),
        (64, 16, 4),
        (65, 16, 4),
        (9, 1, 5),
    ],
)
def test_exactly_m_different_examples_and_none_in_two(count: int, size: int, each: int) -> None:
    for seed in range(10):
        drawn = disjoint_samples(random_vectors(count, subsets=3), size, each, generator(seed))
        assert drawn.shape == (3, each, size)
        assert drawn.dtype == torch.int64
        for subset in drawn.flatten(1):
            assert len(subset.unique()) == each * size
            assert 0 <= int(subset.min()) <= int(subset.max()) < count


@pytest.mark.parametrize(("size", "each"), [(3, 2), (2, 3), (7, 1), (1, 1)])
def test_every_example_has_the_same_chance_in_each(size: int, each: int) -> None:
    """Also one far from all others, and where m does not divide r = 7."""
    vectors = on_a_line([0.0, 0.1, 0.2, 0.3, 5.0, 5.1, 90.0]).expand(20000, -1, -1)
    drawn = disjoint_samples(vectors, size, each, generator())
    share = size / 7
    error = (share * (1 - share) / len(drawn)) ** 0.5
    for number in range(each):
        counts = torch.bincount(drawn[:, number].flatten(), minlength=7)
        assert (counts / len(drawn) - share).abs().max() <= 4.5 * error


def test_of_twins_each_mini_batch_has_one() -> None:
    vectors = on_a_line([0.0, 2.5, 1.0, 7.0, 0.0, 2.5, 1.0, 7.0]).expand(50, -1, -1)
    for batch in disjoint_samples(vectors, 4, 2, generator()).flatten(0, 1):
        assert (batch % 4).sort().values.tolist() == [0, 1, 2, 3]


def test_its_mean_is_unbiased_and_varies_less_than_a_random_mini_batch() -> None:
    points = torch.randn(60, 2, generator=generator(3))
    vectors = points[None].expand(1500, -1, -1)
    means = points[disjoint_samples(vectors, 15, 1, generator())[:, 0]].mean(1)
    errors = means - points.mean(0)
    # Of simple random sampling without replacement.
    random = points.var(0) / 15 * (1 - 15 / 60)
    assert (errors.mean(0).abs() < 4 * errors.std(0) / len(errors) ** 0.5).all()
    assert (errors.var(0) < 0.3 * random).all()


@pytest.mark.parametrize(("count", "size"), [(160, 96), (127, 64), (191, 64)])
def test_a_remainder_that_is_left_out_costs_no_more_than_the_whole_does(
    count: int, size: int
) -> None:
    """Of 160, 64 are left out, as much a sample of all as the 96; at random it would be random."""
    points = torch.randn(count, 2, generator=generator(3))
    vectors = points[None].expand(400, -1, -1)
    means = points[disjoint_samples(vectors, size, 1, generator())[:, 0]].mean(1)
    random = points.var(0) / size * (1 - size / count)
    assert (means.var(0) < 0.15 * random).all()


def plainly_split(points: np.ndarray, members: list[int], groups: int) -> list[list[int]]:
    """Halve the members along their first principal component, one part after the other.

    It points to where the farthest member lies.
    """
    if groups == 1:
        return [members]
    centred = points[members] - points[members].mean(0)
    along = centred @ np.linalg.svd(centred)[2][0]
    along *= np.sign(along[np.square(centred).sum(1).argmax()])
    ordered = [members[place] for place in np.argsort(along, kind="stable")]
    first = (groups + 1) // 2
    cut = first * (len(members) // groups)
    return [
        *plainly_split(points, ordered[:cut], first),
        *plainly_split(points, ordered[cut:], groups - first),
    ]


@pytest.mark.parametrize(("groups", "size"), [(8, 4), (5, 3), (6, 2), (2, 7), (3, 1), (1, 6)])
def test_groups_are_those_of_halving_by_principal_components(
    groups: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spatially_stratified, "ITERATIONS", 500)
    count = groups * size
    vectors = random_vectors(count + 2, subsets=2, dimensions=3, seed=7)
    order = torch.stack([torch.randperm(count + 2, generator=generator(s))[:count] for s in (1, 2)])
    split = spatially_stratified._split(vectors, order, groups)
    for number in (0, 1):
        expected = plainly_split(
            1e20 * vectors[number].double().numpy(), order[number].tolist(), groups
        )
        found = split[number].sort(1).values.tolist()
        assert sorted(found) == sorted(sorted(group) for group in expected)


def test_of_two_groups_beside_each_other_opposite_members_are_drawn() -> None:
    """On a line 0 to 3 and 10 to 13: with the lowest of one comes the highest of the other."""
    vectors = on_a_line([0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0])
    for seed in range(10):
        for batch in disjoint_samples(vectors, 2, 4, generator(seed))[0]:
            assert int(vectors[0, batch].sum()) == 13


@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1e30])
def test_the_scale_changes_nothing(scale: float) -> None:
    vectors = (random_vectors(60, dimensions=3) * 2**10).round()
    scaled = vectors * 2.0 ** round(np.log2(scale))
    drawn = disjoint_samples(vectors, 12, 5, generator())
    assert drawn.equal(disjoint_samples(scaled, 12, 5, generator()))


def test_of_all_alike_any_are_drawn() -> None:
    drawn = disjoint_samples(torch.zeros(1, 12, 5), 4, 3, generator())
    assert drawn.flatten().sort().values.tolist() == list(range(12))


def test_each_mini_batch_resembles_its_subset() -> None:
    """Four clusters of ten: each of five mini-batches of eight has two of each."""
    centres = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 200.0], [50.0, 200.0]])
    points = centres.repeat_interleave(10, 0) + torch.randn(40, 2, generator=generator(4))
    for picks in disjoint_samples(points[None], 8, 5, generator())[0]:
        assert torch.bincount(picks // 10, minlength=4).tolist() == [2, 2, 2, 2]


def test_a_draw_depends_on_the_generator_alone_and_leaves_the_vectors() -> None:
    vectors = random_vectors(50)
    before = vectors.clone()
    draws = [disjoint_samples(vectors, 10, 2, generator(seed)).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert vectors.equal(before)


def test_an_autocast_around_it_changes_nothing() -> None:
    vectors = random_vectors(60, dimensions=5)
    expected = disjoint_samples(vectors, 12, 5, generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert disjoint_samples(vectors, 12, 5, generator()).equal(expected)


def test_the_host_waits_for_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = random_vectors(40, subsets=2)
    expected = disjoint_samples(vectors, 6, 4, generator())
    device = SimulatedDevice()
    # What another test has cached is the host's.
    uncached = spatially_stratified._levels.__wrapped__
    monkeypatch.setattr(spatially_stratified, "_levels", uncached)
    with device.watching():
        device.put(vectors)
        with device.within():
            drawn = disjoint_samples(vectors, 6, 4, generator())
        assert device.has(drawn)
    assert drawn.equal(expected)
    assert vectors.device == CPU
