"""Matching pursuit against a plain loop of non-negative least squares, and scikit-learn's."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.linear_model import orthogonal_mp
from torch import Tensor

from crest.selection.matching_pursuit import matching_pursuit


def rows(seed: int, examples: int, numbers: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(examples, numbers, generator=generator, dtype=torch.float64) + shift


def plain(gradients: Tensor, size: int, regularisation: float) -> dict[int, float]:
    """The definition: the row most correlated with what is left, then all weights anew."""
    everything = gradients.numpy()
    target = everything.sum(0)
    picks: list[int] = []
    weights = np.zeros(0)
    for _ in range(size):
        correlation = everything @ (target - weights @ everything[picks])
        correlation[picks] = -np.inf
        if correlation.max() <= 1e-9:
            break
        picks.append(int(correlation.argmax()))
        ridge = np.sqrt(regularisation) * np.eye(len(picks))
        system = np.concatenate([everything[picks].T, ridge])
        weights, _ = nnls(system, np.concatenate([target, np.zeros(len(picks))]))
    return {pick: weight for pick, weight in zip(picks, weights, strict=True) if weight > 0}


@pytest.mark.parametrize("regularisation", [0.0, 0.5, 30.0])
@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize(("examples", "numbers", "size"), [(12, 20, 8), (40, 6, 15), (30, 9, 30)])
@pytest.mark.parametrize("seed", range(4))
def test_picks_and_weights_are_those_of_the_plain_loop(
    seed, examples, numbers, size, shift, regularisation
) -> None:
    gradients = rows(seed, examples, numbers, shift)
    expected = plain(gradients, size, regularisation)
    picks, weights = matching_pursuit(gradients, size, regularisation)
    assert dict(zip(picks.tolist(), weights.tolist(), strict=True)) == pytest.approx(
        expected, rel=1e-4, abs=1e-6
    )


@pytest.mark.parametrize("seed", range(4))
def test_where_no_weight_wants_to_be_negative_it_is_ordinary_matching_pursuit(seed: int) -> None:
    """Rows of one length with positive products: scikit-learn picks by |correlation|, as we do."""
    gradients = rows(seed, 10, 30).abs()
    gradients = gradients / gradients.norm(dim=1, keepdim=True)
    found = orthogonal_mp(gradients.numpy().T, gradients.sum(0).numpy(), n_nonzero_coefs=4)
    assert (found >= 0).all()
    picks, weights = matching_pursuit(gradients, 4, 0.0)
    dense = torch.zeros(10).index_put((picks,), weights)
    np.testing.assert_allclose(dense.numpy(), found, rtol=1e-5, atol=1e-7)


def test_the_error_falls_with_every_pick() -> None:
    gradients = rows(0, 60, 8, 0.3)
    target = gradients.sum(0)
    errors = []
    for size in range(1, 20):
        picks, weights = matching_pursuit(gradients, size, 0.1)
        left = target - weights.double() @ gradients[picks]
        errors.append(float(left.square().sum() + 0.1 * weights.square().sum()))
    assert all(later <= earlier * (1 + 1e-5) for earlier, later in pairwise(errors))
    assert errors[-1] < 0.5 * errors[5] < 0.1 * errors[0]


def test_it_stops_where_the_sum_is_matched() -> None:
    """Three directions: three picks give the sum exactly, and nothing is left to correlate with."""
    gradients = torch.eye(3, dtype=torch.float64).repeat(4, 1)
    picks, weights = matching_pursuit(gradients, 10, 0.0)
    assert sorted((picks % 3).tolist()) == [0, 1, 2]
    assert weights.tolist() == pytest.approx([4.0] * 3)


def test_gradients_of_nothing_are_matched_by_nothing() -> None:
    picks, weights = matching_pursuit(torch.zeros(5, 3), 2, 0.5)
    assert picks.shape == weights.shape == (0,)
