import pytest
import torch
from torch import nn

from crest import models
from crest.errors import ParameterError
from crest.models.head import features_and_logits, last_layer

SMALL = [
    "convnet",
    "resnet20",
    "resnet20_gn",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "vit_b_32",
]


def build(name: str) -> nn.Module:
    return models.build(name, classes=7, image_shape=(32, 32, 3), stem="cifar", seed=0)


class SoftmaxEnded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs).softmax(dim=1)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(4, 3)
        self.unused = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.used(inputs)


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_the_last_layer_of_the_features(name):
    model = build(name).eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    layer = last_layer(model)
    features, logits = features_and_logits(model, images)
    assert layer.out_features == 7
    assert features.shape == (4, layer.in_features)
    torch.testing.assert_close(features @ layer.weight.T + layer.bias, logits)
    torch.testing.assert_close(model(images), logits, rtol=0, atol=0)


def test_gradients_flow_through_both():
    model = build("convnet")
    features, logits = features_and_logits(model, torch.randn(8, 3, 32, 32))
    (gradient,) = torch.autograd.grad(logits.sum(), features)
    torch.testing.assert_close(gradient[0], last_layer(model).weight.sum(dim=0))


def test_the_mode_and_the_hooks_are_left_as_they_were():
    model = build("convnet").train()
    features_and_logits(model, torch.randn(8, 3, 8, 8))
    assert model.training
    assert not last_layer(model)._forward_hooks


def test_the_hook_is_removed_after_an_error():
    model = Failing()
    with pytest.raises(ZeroDivisionError):
        features_and_logits(model, torch.zeros(1, 4))
    assert not model.linear._forward_hooks


class Copying(nn.Module):
    """Answers with a copy of its logits in float32, as accelerate lets a model do in bf16."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3, dtype=torch.bfloat16)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs).float()


@pytest.mark.parametrize("value", [1.0, torch.inf, torch.nan])
def test_a_copy_of_the_logits_in_another_format_still_counts(value):
    _, logits = features_and_logits(Copying(), torch.full((2, 4), value, dtype=torch.bfloat16))
    assert logits.shape == (2, 3)


def test_a_view_of_the_logits_still_counts():
    model = nn.Sequential(nn.Linear(4, 3), nn.Flatten())
    model.append(nn.Unflatten(1, (3,)))
    _, logits = features_and_logits(model, torch.ones(2, 4))
    torch.testing.assert_close(logits, model(torch.ones(2, 4)))


def test_it_works_under_functional_transforms():
    model = nn.Linear(4, 3)

    def loss(weights, inputs):
        del weights
        return features_and_logits(model, inputs)[1].sum()

    gradient = torch.func.grad(loss, argnums=1)(dict(model.named_parameters()), torch.ones(2, 4))
    torch.testing.assert_close(gradient[0], model.weight.sum(dim=0).detach())


def test_a_model_without_a_linear_layer_is_refused():
    with pytest.raises(ParameterError, match=r"train\.model: Sequential has no linear layer"):
        last_layer(nn.Sequential(nn.Conv2d(1, 2, 3)))


@pytest.mark.parametrize("model", [SoftmaxEnded(), Unused()])
def test_a_model_that_does_not_end_in_its_last_layer_is_refused(model):
    with pytest.raises(ParameterError, match="does not end in its last linear layer"):
        features_and_logits(model, torch.ones(2, 4))


def test_logits_for_each_pixel_are_refused():
    with pytest.raises(ParameterError, match="one row an example"):
        features_and_logits(nn.Linear(4, 3), torch.ones(2, 5, 4))
