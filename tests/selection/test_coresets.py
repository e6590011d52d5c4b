"""Mini-batches whose examples count alike."""

import torch

from crest.selection.coresets import uniform


def test_uniform_weights_are_one() -> None:
    assert uniform(torch.tensor([4, 2])).weights.tolist() == [1.0, 1.0]
