"""craig trains on the medoids of each class."""

import pytest
import torch

from crest.errors import ParameterError
from crest.inference.evaluator import Evaluator
from crest.models.head import last_layer
from crest.samplers.craig import craig
from crest.selection.craig import craig as choose
from crest.selection.gradients import find_proxy
from crest.selection.groups import groups
from crest.selection.shares import proportional
from tests.tiny import FLOAT32, context


@pytest.mark.parametrize(
    ("proxy", "per_class", "largest"),
    [
        ("logits", True, 5000),
        ("last_input", True, 30),
        ("own_weights", True, 5000),
        ("logits", False, 5000),
        ("last_input", False, 100),
    ],
)
def test_its_coreset_is_that_of_each_group(proxy: str, per_class: bool, largest: int) -> None:
    """The choice, called by hand for each group, gives what three mini-batches deal out."""
    settings = {"proxy": proxy, "per_class": per_class, "group_size": largest}
    method, plain = craig(context(craig=settings)), context()
    found: dict[int, float] = {}
    for step in range(3):
        minibatch = method.minibatch(step)
        found |= dict(zip(minibatch.indices.tolist(), minibatch.weights.tolist(), strict=True))
    expected: dict[int, float] = {}
    parts = groups(plain.train.labels, per_class, largest, plain.generator)
    sizes = torch.tensor([len(part) for part in parts])
    for part, share in zip(parts, proportional(sizes, 24, plain.generator).tolist(), strict=True):
        scored = Evaluator(plain.model, plain.train, FLOAT32).score(part)
        gradients = find_proxy(proxy, within_classes=True)(scored, last_layer(plain.model))
        picks, weights = choose(gradients, share)
        expected |= dict(zip(part[picks].tolist(), (weights / 10).tolist(), strict=True))
    assert len(expected) == 24
    assert found == pytest.approx(expected)


def test_a_gradient_that_is_comparable_within_classes_only_is_refused_without_them() -> None:
    message = r"craig\.proxy: 'own_weights' is not one of logits, last_input$"
    with pytest.raises(ParameterError, match=message):
        craig(context(craig={"per_class": False, "proxy": "own_weights"}))
