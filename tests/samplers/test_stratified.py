"""Stratified gives every class its share and covers it without replacement."""

import pytest
import torch

from crest.errors import ParameterError
from crest.samplers.stratified import Stratified
from tests.tiny import context, image_split


def test_every_class_has_its_share_of_each_minibatch() -> None:
    """Three classes of 80 share mini-batches of 8: two or three examples each."""
    split = image_split()
    method = Stratified(context(split=split))
    for step in range(30):
        counts = torch.bincount(split.labels[method.minibatch(step).indices], minlength=3)
        assert sorted(counts.tolist()) == [2, 3, 3]


def test_every_class_is_covered_without_replacement() -> None:
    method = Stratified(context(train={"batch_size": 60}))
    drawn = torch.cat([method.minibatch(step).indices for step in range(4)])
    assert drawn.sort().values.tolist() == list(range(240))


def test_unequal_classes_are_drawn_as_often_as_they_occur() -> None:
    split = image_split(100)
    split.labels = torch.tensor([0] * 90 + [1] * 9 + [2])
    method = Stratified(context(split=split))
    drawn = torch.cat([method.minibatch(step).indices for step in range(500)])
    seen = torch.bincount(split.labels[drawn], minlength=3) / torch.tensor([90, 9, 1])
    # 4,000 draws of 100 examples: 40 each, and of the one in class 2 within four deviations.
    assert seen.tolist() == pytest.approx([40.0, 40.0, 40.0], abs=25.0)
    assert seen[0] == pytest.approx(40.0, abs=0.3)


def test_weights_are_one() -> None:
    assert Stratified(context()).minibatch(0).weights.tolist() == [1.0] * 8


def test_a_minibatch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"train\.batch_size: 241 is more than the 240"):
        Stratified(context(train={"batch_size": 241}))
