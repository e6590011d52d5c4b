"""A DataLoader on saved coresets: examples and weights stay together, whoever loads them."""

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from crest.errors import ParameterError
from crest.samplers.loading import CoresetBatchSampler, Weighted
from crest.samplers.saved import SavedCoresets
from crest.selection.coresets import MiniBatchCoreset

EXAMPLES = 40


def saved_coresets() -> SavedCoresets:
    generator = torch.Generator().manual_seed(0)

    def coreset(region: int, number: int) -> MiniBatchCoreset:
        weights = torch.rand(6, generator=generator)
        indices = torch.randperm(EXAMPLES, generator=generator)[:6]
        return MiniBatchCoreset(indices, weights / weights.mean(), None, region, number)

    regions = tuple(tuple(coreset(region, number) for number in range(3)) for region in range(4))
    return SavedCoresets(regions, tuple((step // 5, step % 3) for step in range(20)))


def dataset() -> TensorDataset:
    """Examples that tell which they are."""
    return TensorDataset(torch.arange(EXAMPLES)[:, None] * 10.0, torch.arange(EXAMPLES) % 3)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("steps", [None, 31])
def test_a_loader_gives_what_iterating_gives(workers: int, steps: int | None) -> None:
    saved = saved_coresets()
    sampler = CoresetBatchSampler(saved, steps, seed=3)
    loader = DataLoader(Weighted(dataset()), batch_sampler=sampler, num_workers=workers)
    expected = list(saved.minibatches(steps, seed=3))
    assert len(loader) == len(expected)
    for _ in range(1 if workers else 2):  # a second pass is the same run
        for (images, labels, weights), (indices, known) in zip(loader, expected, strict=True):
            assert torch.equal(images[:, 0] / 10, indices.float())
            assert torch.equal(labels, indices % 3)
            assert torch.equal(weights, known)
            assert weights.dtype == torch.float32


def collated(examples: object) -> object:
    sampler = CoresetBatchSampler(saved_coresets())
    return next(iter(DataLoader(Weighted(examples), batch_sampler=sampler)))


def test_a_mapping_gains_a_weight_and_anything_else_becomes_a_pair() -> None:
    indices, weights = next(saved_coresets().minibatches())
    named = collated([{"number": number} for number in range(EXAMPLES)])
    assert torch.equal(named["number"], indices)
    assert torch.equal(named["weight"], weights)
    numbers: tuple[Tensor, Tensor] = collated(list(range(EXAMPLES)))
    assert torch.equal(numbers[0], indices)
    assert torch.equal(numbers[1], weights)


def test_an_items_own_weight_stays_and_the_coresets_has_another_name() -> None:
    indices, weights = next(saved_coresets().minibatches())
    animals = [{"weight": 70.0 + number, "weight_": number} for number in range(EXAMPLES)]
    with pytest.warns(UserWarning, match="a 'weight' of their own; the coreset's is 'weight__'"):
        found = collated(animals)
    assert torch.equal(found["weight"], 70.0 + indices.double())
    assert torch.equal(found["weight_"], indices)
    assert torch.equal(found["weight__"], weights)

    sampler = CoresetBatchSampler(saved_coresets())
    named = DataLoader(Weighted(animals, name="coreset"), batch_sampler=sampler)
    assert torch.equal(next(iter(named))["coreset"], weights)
    with pytest.raises(ParameterError, match="a field 'weight' of their own"):
        next(iter(DataLoader(Weighted(animals, name="weight"), batch_sampler=sampler)))


def test_coresets_of_more_examples_than_there_are_and_streams_are_refused() -> None:
    sampler = CoresetBatchSampler(saved_coresets())
    few = Weighted(list(range(3)))
    with pytest.raises(ParameterError, match=r"no example \d+ among 3; were the coresets chosen"):
        list(DataLoader(few, batch_sampler=sampler))

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(3))

    for stream in (Stream(), iter(range(3))):
        with pytest.raises(ParameterError, match="give it a map-style data set"):
            Weighted(stream)


def test_an_index_without_a_weight_says_which_sampler_is_missing() -> None:
    with pytest.raises(ParameterError, match="CoresetBatchSampler as its batch_sampler"):
        next(iter(DataLoader(Weighted(dataset()), batch_size=4)))
    assert len(Weighted(dataset())) == EXAMPLES


def test_no_steps_are_refused_where_the_sampler_is_made() -> None:
    with pytest.raises(ParameterError, match="steps: 0"):
        CoresetBatchSampler(saved_coresets(), steps=0)
