"""Examples of somebody's own program: moved, checked, and fit to be kept."""

import array

import numpy as np
import polars as pl
import pytest
import torch

from crest.data.given import GivenSplit, integers
from crest.errors import ParameterError
from tests.tiny import CPU

IMAGES = torch.arange(12.0).view(6, 2)
LABELS = torch.arange(6) % 2


def read_only(values: list[int]) -> np.ndarray:
    found = np.array(values)
    found.flags.writeable = False
    return found


def split(gather) -> GivenSplit:
    return GivenSplit(gather, LABELS, None, CPU)


def test_inputs_are_those_at_the_indices() -> None:
    indices = torch.tensor([4, 1])
    given = split(lambda indices: IMAGES[indices])
    assert len(given) == 6
    assert torch.equal(given.inputs(indices), IMAGES[indices])
    assert torch.equal(
        given.views(indices, given.draw_views(2, torch.Generator())), IMAGES[indices]
    )
    named = split(lambda indices: {"features": IMAGES[indices]}).inputs(indices)
    assert named.keys() == {"features"}
    assert torch.equal(named["features"], IMAGES[indices])


def test_what_a_function_keeps_of_a_forward_pass_can_be_trained_on() -> None:
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
        *(torch.tensor([3, 0, 1]).to(kind) for kind in (torch.uint16, torch.uint32, torch.uint64)),
        *(np.array([3, 0, 1]).astype(kind) for kind in ("u2", "u4", "u8", ">i8", ">u2", "i1")),
        np.array([1, 9, 0, 9, 3])[::-2],
        np.array([1, 0, 3])[::-1],
        np.array([3, 0, 1], object),
        list(torch.tensor([3, 0, 1])),
        [np.uint64(3), np.int8(0), 1],
        pl.Series([3, 0, 1]),
        pl.Series([3, 0, 1], dtype=pl.UInt16),
        pl.Series([3, 0, 1], dtype=pl.Int128),
        array.array("i", [3, 0, 1]),
        np.ma.array([3, 0, 1]),
        read_only([3, 0, 1]),
    ],
)
def test_integers_of_any_kind(values) -> None:
    found = integers(values, "labels")
    found[0] += 0  # its own memory, or that of a tensor
    assert found.dtype == torch.int64
    assert found.tolist() == [3, 0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], r"labels: row 0: 1\.0 is no integer; convert them .* labels\.long\(\)"),
        (np.array([0.0, 1.0, 1.5]), r"labels: row 2: 1\.5 is no integer"),
        (torch.tensor([0.0, torch.nan]).bfloat16(), "row 1: nan is no integer; leave such"),
        ([[1], [2]], r"labels: row 0: \[1\] is no integer"),
        (torch.eye(3).long(), r"not torch\.int64 of shape \(3, 3\); of rows .*\.argmax\(1\)"),
        (np.array([[1], [2]]), r"not int64 of shape \(2, 1\); take labels\[:, 0\]"),
        ([True], "labels: row 0: True is no integer; convert"),
        ([1, True], "labels: row 1: True is no integer"),
        (torch.tensor([True]), "labels: row 0: True is no integer"),
        (["cat"], r"labels: row 0: 'cat' is no integer; .* numpy\.unique\(labels, return_inverse"),
        (np.array(["0"]), "labels: row 0: '0' is no integer"),
        ([1, None], "labels: row 1: None is no integer; leave such examples out"),
        (pl.Series([1, None]), "labels: row 1: nan is no integer"),
        (np.ma.array([1, 2], mask=[0, 1]), "labels: row 1: masked is no integer; leave such"),
        (np.array([], np.int64), "labels: there is none"),
        ([], "labels: there is none"),
        ([2, -1], "labels: row 1: -1 is below 0; leave examples marked -1 out, or number them"),
        ([2, -100], "labels: row 1: -100 is below 0; leave examples marked -100 out, or"),
        ([2, -7], "labels: row 1: -7 is below 0; number them from 0"),
        ([0, 2**63], "labels: row 1: 9223372036854775808 is above 9223372036854775807"),
        ([0, -(2**63)], "labels: row 1: -9223372036854775808 is below 0"),
        (np.array([1, 2**64 - 1], np.uint64), "labels: row 1: 18446744073709551615 is above"),
        (torch.tensor([1, 2**64 - 1], dtype=torch.uint64), "labels: row 1: 18446744073709551615"),
        (3, "labels: must be whole numbers, one an example, not a int"),
        ("abc", "not a str"),
        ({0: 1}, "not a dict"),
        (torch.tensor(3), r"not torch\.int64 of shape \(\)"),
        (torch.eye(2).to_sparse(), "without plain numbers"),
    ],
)
def test_anything_else_is_refused(values, message) -> None:
    with pytest.raises(ParameterError, match=message):
        integers(values, "labels")
