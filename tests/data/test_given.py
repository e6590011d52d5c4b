"""Examples of somebody's own program: moved, checked, and fit to be kept."""

import numpy as np
import pytest
import torch

from crest.data.given import GivenSplit, integers
from crest.errors import ParameterError
from tests.tiny import CPU

IMAGES = torch.arange(12.0).view(6, 2)
LABELS = torch.arange(6) % 2


def split(gather) -> GivenSplit:
    return GivenSplit(gather, LABELS, None, CPU)


def test_inputs_are_those_at_the_indices() -> None:
    indices = torch.tensor([4, 1])
    given = split(lambda indices: IMAGES[indices])
    assert len(given) == 6
    assert torch.equal(given.inputs(indices), IMAGES[indices])
    assert torch.equal(given.augmented(indices, torch.Generator()), IMAGES[indices])
    named = split(lambda indices: {"features": IMAGES[indices]}).inputs(indices)
    assert named.keys() == {"features"}
    assert torch.equal(named["features"], IMAGES[indices])


def test_what_a_function_keeps_of_a_look_can_be_trained_on() -> None:
    kept = []

    def gather(indices: torch.Tensor) -> torch.Tensor:
        kept.append((indices, IMAGES[indices] * 2))
        return kept[-1][1]

    with torch.inference_mode():
        split(gather).inputs(torch.arange(6)[torch.tensor([3, 2])])
    weight = torch.ones(2, requires_grad=True)
    ((indices, images),) = kept
    (images * weight).sum().backward()
    assert torch.equal(weight.grad, 2 * IMAGES[[3, 2]].sum(0))
    assert not indices.is_inference()


@pytest.mark.parametrize(
    ("gather", "message"),
    [
        (lambda indices: IMAGES, r"inputs: returned a tensor of shape \(6, 2\) for 2 indices"),
        (lambda indices: {"features": IMAGES}, r"of shape \(6, 2\) for 2 indices"),
        (lambda indices: torch.tensor(1.0), r"of shape \(\) for 2 indices"),
        (lambda indices: IMAGES[indices].numpy(), "inputs: returned a ndarray; it must return"),
        (lambda indices: {"features": [1, 2]}, "inputs: returned a list; it must return"),
    ],
)
def test_a_function_that_returns_anything_else_is_told_so(gather, message) -> None:
    with pytest.raises(ParameterError, match=message):
        split(gather).inputs(torch.tensor([4, 1]))


@pytest.mark.parametrize(
    "values",
    [
        [3, 0, 1],
        (3, 0, 1),
        np.array([3, 0, 1]),
        np.array([3, 0, 1], np.uint8),
        torch.tensor([3, 0, 1]).int(),
    ],
)
def test_integers_of_any_kind(values) -> None:
    found = integers(values, "labels")
    assert found.dtype == torch.int64
    assert found.tolist() == [3, 0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], "labels: must be whole numbers, one an example, not torch.float32"),
        ([[1], [2]], r"labels: must be whole numbers, one an example, not torch.int64 of shape"),
        ([True], "labels: must be whole numbers"),
        (["cat"], "labels: cannot be read as whole numbers"),
        (np.array([], np.int64), "labels: there is none"),
        ([2, -1], "labels: row 1: -1 is below 0"),
    ],
)
def test_anything_else_is_refused(values, message) -> None:
    with pytest.raises(ParameterError, match=message):
        integers(values, "labels")
