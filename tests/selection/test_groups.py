"""Groups hold every example once."""

import pytest
import torch

from crest.selection.groups import groups

LABELS = torch.tensor([0] * 25 + [3] * 9 + [1] * 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("largest", [1, 7, 25, 100])
def test_every_example_is_in_one_group_of_no_more_than_the_largest(per_class, largest) -> None:
    parts = groups(LABELS, per_class, largest, generator())
    assert torch.cat(parts).sort().values.tolist() == list(range(36))
    assert max(len(part) for part in parts) <= largest
    assert min(len(part) for part in parts) >= 1


def test_a_group_is_of_one_class() -> None:
    sizes = [len(part) for part in groups(LABELS, True, 10, generator())]
    assert sizes == [9, 8, 8, 2, 9]
    assert all(len(LABELS[part].unique()) == 1 for part in groups(LABELS, True, 10, generator()))


def test_groups_are_drawn_anew() -> None:
    first, second = (groups(LABELS, False, 10, generator(seed))[0] for seed in (0, 1))
    assert first.sort().values.tolist() != second.sort().values.tolist()
