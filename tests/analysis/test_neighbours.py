"""Nearest neighbours by blocks, against all pairs at once."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from crest.analysis import neighbours as near

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(near, "ROWS", 7)
    monkeypatch.setattr(near, "COLUMNS", 5)


def features(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def test_they_are_those_of_all_pairs():
    queries, keys = features(11, 1), features(23, 2)
    found = near.nearest(queries, keys, 4, 0.7, CPU)
    pairs = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T
    values, places = pairs.topk(4, 1)
    assert torch.equal(found.indices, places)
    torch.testing.assert_close(found.similarities, values)
    expected = [next((j for j, one in enumerate(row) if one >= 0.7), -1) for row in pairs]
    assert found.copied.tolist() == expected


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_none_is_its_own_neighbour_and_a_copy_is_of_an_earlier_one(kind):
    rows = features(17).numpy().astype(kind)
    rows[9], rows[13] = 2 * rows[3], rows[3]
    found = near.nearest(rows, rows, 3, 0.9999, CPU)
    assert all(own not in others for own, others in enumerate(found.indices.tolist()))
    assert found.copied[[3, 9, 13]].tolist() == [-1, 3, 3]
    assert (found.copied >= 0).sum() == 2


def test_fewer_examples_than_neighbours_are_all_of_them():
    rows = features(3)
    assert near.nearest(rows, rows, 10, 1.0, CPU).indices.shape == (3, 2)


def test_a_row_of_zeros_is_like_none():
    rows = features(6)
    rows[2] = 0.0
    found = near.nearest(rows, rows, 2, 0.5, CPU)
    assert found.similarities[2].tolist() == [0.0, 0.0]
    assert found.copied[2] == -1


def test_copies_of_copies_are_of_the_first():
    copied = torch.tensor([-1, 0, 1, -1, 2, 3])
    assert near.originals(copied).tolist() == [-1, 0, 0, -1, 0, 3]


def test_agreement_distance_and_strays():
    indices, similarities = torch.tensor([[1, 2], [0, 2]]), torch.tensor([[0.9, 0.5], [0.9, 0.1]])
    found = near.Neighbours(indices, similarities, torch.tensor([-1, -1]))
    labels = torch.tensor([0, 1])
    assert near.agreement(found, labels, torch.tensor([0, 1, 0])).tolist() == [0.5, 0.0]
    torch.testing.assert_close(near.distances(found), torch.tensor([0.3, 0.5]))
    distance = torch.cat([torch.linspace(0.1, 0.2, 99), torch.tensor([0.9])])
    assert near.strays(distance).nonzero().flatten().tolist() == [99]
