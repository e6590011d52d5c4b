"""CRAIG's choice against brute force."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from crest.selection.craig import craig


def points(seed: int = 0, examples: int = 12) -> Tensor:
    return torch.randn(examples, 3, generator=torch.Generator().manual_seed(seed))


def value(distances: Tensor, picks: list[int]) -> float:
    """Σ_i max_j (C − d_ij), by a plain loop."""
    largest = float(distances.max())
    rows = distances.tolist()
    return sum(max(largest - row[pick] for pick in picks) for row in rows)


def distances_of(gradients: Tensor) -> Tensor:
    return (gradients[:, None] - gradients).double().norm(dim=2)


@pytest.mark.parametrize("seed", range(5))
def test_every_pick_is_the_best_next_and_all_are_nearly_the_best(seed: int) -> None:
    gradients = points(seed)
    distances = distances_of(gradients)
    picks = craig(gradients, 3)[0].tolist()
    for place, pick in enumerate(picks):
        before = picks[:place]
        others = {i: value(distances, [*before, i]) for i in range(12) if i not in before}
        assert others[pick] == pytest.approx(max(others.values()))
    best = max(value(distances, list(some)) for some in combinations(range(12), 3))
    assert value(distances, picks) >= (1 - 1 / 2.718281828) * best


def test_weights_count_the_nearest_rows() -> None:
    gradients = points()
    picks, weights = craig(gradients, 4)
    nearest = distances_of(gradients)[:, picks].argmin(1)
    assert weights.tolist() == torch.bincount(nearest, minlength=4).tolist()
    assert weights.dtype == torch.float32
