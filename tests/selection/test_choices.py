"""Ways to choose: the same shapes from each, and what each promises."""

import pytest
import torch

from crest.errors import ParameterError
from crest.selection.choices import CHOICES, UNBIASED, find_choice
from crest.selection.facility_location import cluster_sizes, greedy, pairwise_distances


def gradients(subsets: int = 2, examples: int = 24) -> torch.Tensor:
    return torch.randn(subsets, examples, 3, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", CHOICES)
def test_mini_batches_of_a_subset_share_nothing_and_have_a_mean_weight_of_one(name: str) -> None:
    chosen = find_choice(name)(gradients(), 6, 3, torch.Generator())
    assert chosen.picks.shape == chosen.weights.shape == (2, 3, 6)
    assert chosen.picks.dtype == torch.int64
    assert chosen.weights.dtype == torch.float32
    for subset in chosen.picks:
        assert len(subset.unique()) == 18
    torch.testing.assert_close(chosen.weights.mean(2), torch.ones(2, 3))


def test_facility_location_is_greedy_and_weighted_by_clusters() -> None:
    subsets = pairwise_distances(gradients())
    chosen = find_choice("facility_location")(gradients(), 6, 2, torch.Generator())
    first = greedy(subsets, 6)
    second = greedy(subsets, 6, first)
    assert chosen.picks.tolist() == torch.stack([first, second], 1).tolist()
    for number, picks in enumerate((first, second)):
        weights = cluster_sizes(subsets, picks) * 6 / 24
        torch.testing.assert_close(chosen.weights[:, number], weights)


def test_medoids_are_those_of_facility_location_without_their_weights() -> None:
    weighted = find_choice("facility_location")(gradients(), 6, 2, torch.Generator())
    plain = find_choice("medoids")(gradients(), 6, 2, torch.Generator())
    assert plain.picks.tolist() == weighted.picks.tolist()
    assert (plain.weights == 1.0).all()
    assert not (weighted.weights == 1.0).all()


@pytest.mark.parametrize("name", UNBIASED)
def test_the_unbiased_draw_from_the_generator_and_weigh_uniformly(name: str) -> None:
    draws = [
        find_choice(name)(gradients(), 6, 4, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert draws[0].picks.tolist() == draws[1].picks.tolist() != draws[2].picks.tolist()
    assert (draws[0].weights == 1.0).all()


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"crest\.choice: 'best' is not one of facility_loc"):
        find_choice("best")
