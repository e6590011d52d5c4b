"""Random covers the data without replacement through epochs."""

import pytest
import torch

from crest.errors import ParameterError
from crest.samplers.random import Random
from tests.tiny import context


def test_every_epoch_shows_every_example_once() -> None:
    method = Random(context(train={"batch_size": 32}))
    drawn = torch.cat([method.minibatch(step).indices for step in range(15)])
    assert len(drawn) == 480
    for epoch in drawn.split(240):
        assert epoch.sort().values.tolist() == list(range(240))


def test_minibatches_are_exactly_m_where_m_does_not_divide_n() -> None:
    method = Random(context(train={"batch_size": 100}))
    drawn = [method.minibatch(step).indices for step in range(12)]
    assert {len(indices) for indices in drawn} == {100}
    assert torch.bincount(torch.cat(drawn)).tolist() == [5] * 240


def test_weights_are_one() -> None:
    assert Random(context()).minibatch(0).weights.tolist() == [1.0] * 8


def test_a_minibatch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"train\.batch_size: 241 is more than the 240"):
        Random(context(train={"batch_size": 241}))
