"""glister chooses by examples that it never trains on."""

import pytest
import torch

from crest.samplers.glister import _hold_out, glister
from tests.tiny import context, image_split


def drive(method, steps: int) -> torch.Tensor:
    drawn = []
    for step in range(steps):
        minibatch = method.minibatch(step)
        drawn.append(minibatch.indices)
        method.update(minibatch, None, 0.0)
    return torch.cat(drawn)


def test_what_is_held_out_is_never_trained_on() -> None:
    base, same = context(glister={"validation": 0.25}), context()
    method = glister(base)
    held_out = _hold_out(same.train.labels, 0.25, same.generator)
    drawn = drive(method, 60)
    assert len(held_out) == 60
    assert not set(held_out.tolist()) & set(drawn.tolist())
    record = method.record()
    assert record.regions is not None
    assert record.scored is not None
    assert set(record.regions["active"]) == {180}
    assert set(record.regions["excluded"]) == {60}
    assert set(record.scored["seen"]) == {len(record.regions)}


def test_every_class_has_its_share_of_the_validation_data() -> None:
    labels = torch.tensor([0] * 100 + [1] * 50 + [4] * 10)
    held_out = _hold_out(labels, 0.1, torch.Generator().manual_seed(0))
    assert torch.bincount(labels[held_out]).tolist() == [10, 5, 0, 0, 1]
    assert len(held_out.unique()) == 16


def test_weights_are_one() -> None:
    assert glister(context(method="glister")).minibatch(0).weights.tolist() == [1.0] * 8


@pytest.mark.parametrize("per_class", [True, False])
def test_per_class_every_class_has_its_share(per_class: bool) -> None:
    """216 candidates of three classes, 24 of a coreset: 8 each, or as the gains have it."""
    settings = {"per_class": per_class, "gradient_updates": 1, "coreset_size": 24}
    method = glister(context(glister=settings))
    counts = torch.bincount(image_split().labels[drive(method, 3)], minlength=3).tolist()
    assert (counts == [8, 8, 8]) == per_class
    assert sum(counts) == 24
