import pytest
import torch
from torch import nn

from crest import models
from crest.errors import ParameterError
from crest.models.head import classes_of, features_and_logits, last_layer, last_layer_if_any

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


def test_a_model_without_a_linear_layer_is_refused_where_one_is_needed():
    with pytest.raises(ParameterError, match=r"train\.model: Sequential has no linear layer"):
        last_layer(nn.Sequential(nn.Conv2d(1, 2, 3)))


def test_probabilities_are_refused():
    with pytest.raises(ParameterError, match="answers with probabilities"):
        features_and_logits(SoftmaxEnded(), torch.ones(2, 4))


def test_logits_for_each_pixel_are_refused():
    with pytest.raises(ParameterError, match="one row an example"):
        features_and_logits(nn.Linear(4, 3), torch.ones(2, 5, 4))


def test_a_layer_that_is_registered_first_is_found():
    model = Unused()
    inputs = torch.randn(2, 4)
    features, logits = features_and_logits(model, inputs)
    assert last_layer(model) is model.used
    assert torch.equal(features, inputs)
    assert torch.equal(logits, model(inputs))
    assert classes_of(model) == 3
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_takes_over_is_found_anew():
    model = Unused()
    features_and_logits(model, torch.randn(2, 4))
    model.forward = lambda inputs: model.unused(inputs)
    features_and_logits(model, torch.randn(2, 4))
    assert last_layer(model) is model.unused


class Tokens(nn.Module):
    """Gives every place of a sequence its logits, and answers with some of them."""

    def __init__(self, answer):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.answer = answer

    def forward(self, inputs):
        return self.answer(self.head(inputs))


class Map(nn.Module):
    def __init__(self, convolution, *after):
        super().__init__()
        self.convolution = convolution
        self.after = nn.Sequential(*after, nn.Flatten())

    def forward(self, inputs):
        return self.after(self.convolution(inputs))


POOL = nn.AdaptiveAvgPool2d(1)
WHERE = torch.tensor([2, 0, 4])


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (Tokens(lambda z: z[:, 0]), (3, 5, 4), lambda x: x[:, 0]),
        (Tokens(lambda z: z[torch.arange(3), WHERE]), (3, 5, 4), lambda x: x[range(3), WHERE]),
        (Tokens(lambda z: z.mean(1)), (3, 5, 4), lambda x: x.mean(1)),
        (Tokens(lambda z: z.mean((1, 2))), (3, 5, 2, 4), lambda x: x.mean((1, 2))),
        (Map(nn.Conv2d(4, 3, 1), POOL), (3, 4, 5, 6), lambda x: x.mean((2, 3))),
        (Map(nn.Conv2d(4, 3, 1, bias=False), POOL), (3, 4, 5, 6), lambda x: x.mean((2, 3))),
        (nn.Sequential(POOL, Map(nn.Conv2d(4, 3, 1))), (3, 4, 5, 6), lambda x: x.mean((2, 3))),
        (Map(nn.Conv2d(4, 3, (5, 6))), (3, 4, 5, 6), lambda x: x.flatten(1)),
        (Map(nn.Conv1d(4, 3, 1), nn.AdaptiveAvgPool1d(1)), (3, 4, 5), lambda x: x.mean(2)),
    ],
)
def test_logits_of_a_linear_map_of_places_are_that_of_features(model, shape, expected):
    """Exactly: the gradient with respect to the layer's weights is (p − y)ᵀ a."""
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    features, logits = features_and_logits(model, inputs)
    layer = last_layer(model)
    assert torch.equal(logits, model(inputs))
    torch.testing.assert_close(features, expected(inputs))
    bias = 0 if layer.bias is None else layer.bias
    torch.testing.assert_close(features @ layer.weight.T + bias, logits)
    assert (layer.in_features, layer.out_features) == (features.shape[1], 3)
    labels = torch.tensor([0, 1, 2])
    (weight, *_) = layer.parameters()
    loss = nn.functional.cross_entropy(model(inputs), labels, reduction="sum")
    (found,) = torch.autograd.grad(loss, weight)
    residuals = logits.softmax(1) - nn.functional.one_hot(labels, 3)
    torch.testing.assert_close(found.flatten(1), residuals.T @ features)


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (Tokens(lambda z: z / 2), (3, 4), "multiplies the output of .*, head, by 0.5"),
        (Tokens(torch.tanh), (3, 4), "something follows head"),
        (Tokens(torch.relu_), (3, 4), "something follows head"),
        (Tokens(lambda z: z.mul_(0.5)), (3, 4), "multiplies the output of .*, head, by 0.5"),
        (Tokens(lambda z: z.amax(1)), (3, 5, 4), "no linear layer's output"),
        (Map(nn.Conv2d(4, 3, 1), nn.ReLU(), POOL), (3, 4, 5, 5), "no linear layer's output"),
        (Map(nn.Conv2d(4, 3, 3, padding=1), POOL), (3, 4, 5, 5), "no linear layer's output"),
        (Map(nn.Conv2d(4, 3, 1, stride=2), POOL), (3, 4, 5, 5), "no linear layer's output"),
        (nn.Sequential(Map(nn.Conv2d(3, 3, 1, groups=3), POOL)), (3, 3, 5, 5), "no linear layer"),
    ],
)
def test_other_logits_are_known_and_why_there_is_no_last_layer_is_told(model, shape, reason):
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    features, logits = features_and_logits(model, inputs)
    assert torch.equal(logits, model(inputs))
    assert features.shape == (3, 0)
    assert classes_of(model) == 3
    with pytest.raises(ParameterError, match=reason):
        last_layer(model)
    with pytest.raises(ParameterError, match=reason):
        _ = last_layer_if_any(model).weight


def test_zeros_as_logits_are_no_scaled_ones():
    model = Tokens(lambda z: z * 0)
    features, logits = features_and_logits(model, torch.randn(3, 4))
    assert features.shape == (3, 0)
    assert not logits.any()


def test_linear_layers_that_answer_with_something_else_are_passed_over():
    class Router(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs), None

    class Routed(nn.Module):
        def __init__(self, last_is_router):
            super().__init__()
            self.one = nn.Linear(4, 3)
            self.router = Router(4, 4)
            self.two = self.one if last_is_router else nn.Linear(4, 3)

        def forward(self, inputs):
            return self.two(self.router(inputs)[0])[:, 0]

    for model in (Routed(True), Routed(False)):
        features_and_logits(model, torch.randn(2, 5, 4))
        assert last_layer(model) is model.two
