"""gradmatch trains on what matches each group's gradient."""

import pytest
import torch

from crest.inference.evaluator import Evaluator
from crest.models.head import last_layer
from crest.samplers.gradmatch import gradmatch, match_and_fill
from crest.selection.gradients import find_proxy
from crest.selection.groups import groups
from crest.selection.matching_pursuit import matching_pursuit
from crest.selection.shares import proportional
from tests.tiny import FLOAT32, context


@pytest.mark.parametrize(
    ("proxy", "per_class"), [("own_weights", True), ("logits", True), ("last_input", False)]
)
def test_its_coreset_is_that_of_each_group(proxy: str, per_class: bool) -> None:
    """The choice, called by hand for each group, gives what three mini-batches deal out."""
    settings = {"proxy": proxy, "per_class": per_class, "group_size": 90}
    method, plain = gradmatch(context(gradmatch=settings)), context()
    found: dict[int, float] = {}
    for step in range(3):
        minibatch = method.minibatch(step)
        found |= dict(zip(minibatch.indices.tolist(), minibatch.weights.tolist(), strict=True))
    expected: dict[int, float] = {}
    parts = groups(plain.train.labels, per_class, 90, plain.generator)
    sizes = torch.tensor([len(part) for part in parts])
    for part, share in zip(parts, proportional(sizes, 24, plain.generator).tolist(), strict=True):
        scored = Evaluator(plain.model, plain.train, FLOAT32).score(part)
        gradients = find_proxy(proxy, within_classes=True)(scored, last_layer(plain.model))
        picks, weights = match_and_fill(gradients, share, 0.5, plain.generator)
        expected |= dict(zip(part[picks].tolist(), weights.tolist(), strict=True))
    mean = sum(expected.values()) / 24
    assert len(expected) == 24
    assert found == pytest.approx({index: weight / mean for index, weight in expected.items()})


def test_what_matching_leaves_of_a_share_is_filled_up_at_random() -> None:
    gradients = torch.eye(3).repeat(4, 1)
    matched, weights = matching_pursuit(gradients, 7, 0.0)
    generator = torch.Generator().manual_seed(0)
    picks, filled = match_and_fill(gradients, 7, 0.0, generator)
    assert picks[:3].tolist() == matched.tolist()
    assert filled.tolist() == [*weights.tolist(), 1.0, 1.0, 1.0, 1.0]
    assert len(picks.unique()) == 7


def test_a_model_that_has_learned_everything_is_still_trained_on_something() -> None:
    picks, weights = match_and_fill(torch.zeros(9, 4), 5, 0.5, torch.Generator().manual_seed(1))
    assert len(picks.unique()) == 5
    assert weights.tolist() == [1.0] * 5
