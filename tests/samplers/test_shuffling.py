"""A shuffle in buckets is a shuffle: all values once, each place as likely for each."""

import pytest
import torch

from crest.samplers import shuffling
from crest.samplers.shuffling import shuffled


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_few_values_are_shuffled_as_torch_does(count) -> None:
    values = torch.arange(count, dtype=torch.int32) + 5
    expected = values[torch.randperm(count, generator=generator(), dtype=torch.int32)]
    assert torch.equal(shuffled(values, generator()), expected)


@pytest.mark.parametrize("count", [101, 5000])
def test_many_values_come_once_each(count, monkeypatch) -> None:
    monkeypatch.setattr(shuffling, "PLAIN", 100)
    monkeypatch.setattr(shuffling, "IN_CACHE", 40)
    monkeypatch.setattr(shuffling, "AT_ONCE", 1000)
    values = torch.arange(count, dtype=torch.int32)
    order = shuffled(values, generator())
    assert order.dtype == torch.int32
    assert torch.equal(order.sort().values, values)


def test_in_buckets_every_order_is_as_likely(monkeypatch) -> None:
    """All 24 orders of four values, by chi-squared with 23 degrees of freedom: 49.7 is 0.1%."""
    monkeypatch.setattr(shuffling, "PLAIN", 2)
    monkeypatch.setattr(shuffling, "IN_CACHE", 2)
    monkeypatch.setattr(shuffling, "AT_ONCE", 3)
    values, draws, random = torch.arange(4), 4800, generator(1)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(draws):
        order = tuple(shuffled(values, random).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert sum((count - draws / 24) ** 2 / (draws / 24) for count in counts.values()) < 49.7
