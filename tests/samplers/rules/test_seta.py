"""SeTa: clusters by k-means, and a window that moves from easy to hard."""

import pytest
import torch

from crest.samplers.rules import build_rule
from crest.samplers.rules.seta import clustered
from tests.samplers.rules.rounds import generator, observed


def values_around(count: int, each: int = 40) -> torch.Tensor:
    """Return losses around whole numbers, in random order."""
    centres = torch.arange(1, count + 1).repeat_interleave(each).float()
    values = centres + 0.1 * torch.rand(count * each, generator=generator(1))
    return values[torch.randperm(len(values), generator=generator(2))]


def test_groups_that_lie_apart_are_found_lowest_first() -> None:
    losses = values_around(5)
    assert torch.equal(clustered(losses, 5), losses.long() - 1)


def test_no_value_is_nearer_to_the_mean_of_another_cluster() -> None:
    losses = torch.rand(3000, generator=generator(4)).pow(4)
    cluster = clustered(losses, 6)
    means = torch.stack([losses[cluster == number].mean() for number in range(6)])
    nearest = (losses[:, None] - means).abs().argmin(1)
    assert torch.equal(nearest, cluster)


def test_values_that_are_all_the_same_have_a_cluster() -> None:
    cluster = clustered(torch.ones(10), 3)
    assert cluster.shape == (10,)
    assert 0 <= int(cluster.min()) <= int(cluster.max()) < 3


@pytest.mark.parametrize("rounds", range(1, 8))
def test_the_window_moves_by_a_cluster_each_round_and_begins_again(rounds) -> None:
    losses = values_around(5)
    rule = build_rule("seta", {"ratio": 0.0, "clusters": 5, "window": 0.6})
    drawn = rule.draw(observed(losses, rounds=rounds), generator())
    first = rounds % 3
    assert set(losses[drawn.members].long().tolist()) == {first + 1, first + 2, first + 3}


@pytest.mark.parametrize(("progress", "rounds"), [(0.0, 0), (0.875, 6)])
def test_first_and_last_rounds_are_a_random_part_of_all_clusters(progress, rounds) -> None:
    losses = values_around(5)
    drawn = build_rule("seta", {"ratio": 0.25}).draw(
        observed(losses, progress, rounds), generator()
    )
    assert len(drawn.members) == 150
    assert set(losses[drawn.members].long().tolist()) == {1, 2, 3, 4, 5}
