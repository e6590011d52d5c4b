"""Predictions by all other examples, against regressions that were made without each."""

import pytest
import torch
from torch.nn import functional as F

from crest.errors import ParameterError
from crest.label_noise import leave_one_out as module
from crest.label_noise.leave_one_out import PENALTIES, leave_one_out

COUNT, WIDTH, CLASSES = 60, 7, 3


def features() -> torch.Tensor:
    found = torch.randn(COUNT, WIDTH, generator=torch.Generator().manual_seed(0))
    found[:, 3] = 2.0  # tells nothing
    return found * torch.tensor([1.0, 5.0, 0.1, 1.0, 1.0, 1.0, 30.0]) + 1.0


def labels() -> torch.Tensor:
    return torch.randint(0, CLASSES, (COUNT,), generator=torch.Generator().manual_seed(1))


def without_each(members: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make a regression anew for each example, without it: scaled and penalised as with it."""
    given, targets = features().double(), F.one_hot(labels(), CLASSES).double()
    chosen = given[members]
    scale = chosen.std(0, correction=0)
    scaled = (given - chosen.mean(0)) / torch.where(scale > 1e-6, scale, 1.0)
    found = []
    for example in range(COUNT):
        others = members[members != example]
        inputs, outputs = scaled[others], targets[others]
        centred = inputs - inputs.mean(0)
        matrix = centred.T @ centred + penalty * len(members) * torch.eye(WIDTH)
        slopes = torch.linalg.solve(matrix, centred.T @ (outputs - outputs.mean(0)))
        found.append(outputs.mean(0) + (scaled[example] - inputs.mean(0)) @ slopes)
    return torch.stack(found)


def found(**changed: object) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changed.items():
            patch.setattr(module, name, value)
        given = features()
        generator = torch.Generator().manual_seed(2)
        return leave_one_out(lambda rows: given[rows], labels(), CLASSES, generator)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_each_example_is_predicted_by_a_regression_without_it(penalty):
    expected = without_each(torch.arange(COUNT), penalty)
    torch.testing.assert_close(found(PENALTIES=(penalty,)).double(), expected, rtol=1e-4, atol=1e-5)


def test_chunks_and_what_is_kept_change_nothing():
    once = found()
    torch.testing.assert_close(found(AT_ONCE=7, KEPT=0), once, rtol=1e-5, atol=1e-6)


def test_of_many_examples_some_are_learned_from_and_the_others_predicted():
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(2))
    expected = without_each(order[:40].sort().values, 0.3)
    few = found(LEARNED_FROM=40, PENALTIES=(0.3,))
    torch.testing.assert_close(few.double(), expected, rtol=1e-4, atol=1e-5)


def test_the_penalty_is_the_one_that_predicts_best():
    targets = F.one_hot(labels(), CLASSES).double()
    errors = [
        (without_each(torch.arange(COUNT), penalty) - targets).square().mean()
        for penalty in PENALTIES
    ]
    best = PENALTIES[int(torch.stack(errors).argmin())]
    expected = without_each(torch.arange(COUNT), best)
    torch.testing.assert_close(found().double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [1e4, 1e9])
def test_features_far_from_zero_predict_as_those_near_it(shift):
    """Of float32, as far as their own digits go."""
    near = torch.randn(COUNT, WIDTH, generator=torch.Generator().manual_seed(0)).double()
    far = (near * shift / 1e3 + shift).float()
    generator = torch.Generator().manual_seed(2)
    expected = leave_one_out(lambda rows: near[rows].float(), labels(), CLASSES, generator)
    generator = torch.Generator().manual_seed(2)
    got = leave_one_out(lambda rows: far[rows], labels(), CLASSES, generator)
    torch.testing.assert_close(got, expected, rtol=0.0, atol=5e-3)


def test_a_number_that_is_not_finite_is_named():
    given = features()
    given[17, 2] = torch.nan
    with pytest.raises(ParameterError, match="example 17 holds numbers that are not finite"):
        leave_one_out(lambda rows: given[rows], labels(), CLASSES, torch.Generator())
