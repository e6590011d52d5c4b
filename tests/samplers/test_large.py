"""Large is Random with larger mini-batches."""

import pytest
import torch

from crest.errors import ParameterError
from crest.samplers.large import large
from crest.samplers.random import Random
from tests.tiny import context


@pytest.mark.parametrize(("factor", "size"), [(2.0, 16), (1.3, 10), (0.1, 1), (30.0, 240)])
def test_it_draws_what_random_with_that_batch_size_draws(factor: float, size: int) -> None:
    method = large(context(large={"factor": factor}))
    plain = Random(context(train={"batch_size": size}))
    for step in range(5):
        assert torch.equal(method.minibatch(step).indices, plain.minibatch(step).indices)


def test_a_minibatch_larger_than_the_data_is_refused_by_its_own_key() -> None:
    message = r"large\.factor: 31 times train\.batch_size: 248 is more than the 240 training"
    with pytest.raises(ParameterError, match=message):
        large(context(large={"factor": 31.0}))
