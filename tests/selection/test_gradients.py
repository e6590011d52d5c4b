"""Gradient proxies against automatic differentiation."""

import pytest
import torch
from torch.nn import functional as F

from crest.errors import ParameterError
from crest.inference.evaluator import Evaluator
from crest.models.head import last_layer
from crest.samplers.example_tracker import error_norms
from crest.selection.gradients import find_proxy
from tests.tiny import FLOAT32, convnet, image_split


def test_logit_gradients_equal_autograd() -> None:
    model = convnet()
    scored = Evaluator(model, image_split(), FLOAT32).score(torch.arange(10))
    logits = scored.logits.clone().requires_grad_()
    F.cross_entropy(logits, scored.labels, reduction="sum").backward()
    found = find_proxy("logits")(scored, last_layer(model))
    torch.testing.assert_close(found, logits.grad)


@pytest.mark.parametrize("name", ["logits", "last_input"])
def test_gradients_of_smoothed_labels_equal_autograd(name) -> None:
    model = convnet()
    head = last_layer(model)
    scored = Evaluator(model, image_split(), FLOAT32).score(torch.arange(10))
    features = scored.features.clone().requires_grad_()
    logits = scored.logits.clone().requires_grad_() if name == "logits" else head(features)
    losses = F.cross_entropy(logits, scored.labels, reduction="none", label_smoothing=0.2)
    assert torch.equal(scored.smoothed_losses(0.2), losses) or name != "logits"
    (expected,) = torch.autograd.grad(losses.sum(), logits if name == "logits" else features)
    found = find_proxy(name, smoothing=0.2)(scored, head)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    if name == "logits":
        norms = error_norms(scored.logits, scored.labels, 0.2)
        torch.testing.assert_close(norms, expected.norm(dim=1))


def test_last_input_gradients_equal_autograd() -> None:
    model = convnet()
    head = last_layer(model)
    scored = Evaluator(model, image_split(), FLOAT32).score(torch.arange(10))
    features = scored.features.clone().requires_grad_()
    F.cross_entropy(head(features), scored.labels, reduction="sum").backward()
    found = find_proxy("last_input")(scored, head)
    torch.testing.assert_close(found, features.grad, rtol=1e-4, atol=1e-6)


def test_own_weight_gradients_equal_autograd() -> None:
    """One example after another, the row of its class in the weight and in the bias."""
    model = convnet()
    head = last_layer(model)
    scored = Evaluator(model, image_split(), FLOAT32).score(torch.arange(10))
    found = find_proxy("own_weights", within_classes=True)(scored, head)
    for row, features, label in zip(found, scored.features, scored.labels, strict=True):
        head.zero_grad()
        F.cross_entropy(head(features.clone()), label).backward()
        expected = torch.cat([head.weight.grad[label], head.bias.grad[label, None]])
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-6)


def test_a_gradient_of_other_parameters_for_each_class_is_for_comparisons_within_one() -> None:
    with pytest.raises(ParameterError, match=r"'own_weights' is not one of logits, last_input$"):
        find_proxy("own_weights")


def test_unknown_proxy_names_the_key() -> None:
    with pytest.raises(ParameterError, match=r"crest\.proxy: 'logit' is not one of logits"):
        find_proxy("logit")
