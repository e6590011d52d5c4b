import pytest
import torch
from torch import nn

from crest import models
from crest.errors import ParameterError
from crest.models import MODELS
from crest.models.head import features_and_logits, last_layer
from crest.models.resnet20 import group_norm


def build(name: str, **changes) -> nn.Module:
    arguments = {"classes": 10, "image_shape": (32, 32, 3), "stem": "cifar", "seed": 0, **changes}
    return models.build(name, **arguments)


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def resnet20_weights(channels: int, classes: int) -> int:
    """Count by the paper's table: 19 convolutions with two BatchNorm weights a channel, a head."""
    outs = [16] + [16] * 6 + [32] * 6 + [64] * 6
    ins = [channels, *outs[:-1]]
    convolutions = sum(9 * i * o for i, o in zip(ins, outs, strict=True))
    return convolutions + 2 * sum(outs) + (64 + 1) * classes


@pytest.mark.parametrize(("channels", "classes"), [(3, 10), (1, 100)])
def test_resnet20_has_the_papers_weights(channels, classes):
    model = build("resnet20", classes=classes, image_shape=(32, 32, channels))
    assert weights(model) == resnet20_weights(channels, classes)


def test_resnet20_has_a_quarter_of_a_million_weights():
    assert round(weights(build("resnet20")) / 1e6, 2) == 0.27


def test_resnet20_with_groupnorm_differs_in_its_normalisation_alone():
    """As many weights of the same names and shapes, no statistics, and no BatchNorm left."""
    plain, grouped = build("resnet20"), build("resnet20_gn")
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (plain, grouped)]
    assert shapes[0] == shapes[1]
    assert list(grouped.buffers()) == []
    norms = [module for module in grouped.modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) == 19
    assert {norm.num_groups for norm in norms} == {8}


def test_with_groupnorm_an_example_is_seen_the_same_alone_and_among_others():
    model = build("resnet20_gn").train()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = model(images)
    apart = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(build("resnet20").train()(images), together)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_groupnorm_and_its_gradient_are_torchs_in_every_layout_and_type(kind, layout):
    """In the memory format of its images, and in bf16 as exact as bf16 is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 16, 5, 5, generator=generator).to(kind).contiguous(memory_format=layout)
    pull = torch.randn(2, 16, 5, 5, generator=generator)
    norm, plain = group_norm(16), nn.GroupNorm(8, 16)
    tolerance = 1e-5 if kind is torch.float32 else 0.02
    found, expected = images.requires_grad_(), images.detach().float().requires_grad_()
    output = norm(found)
    assert output.dtype is kind
    assert output.is_contiguous(memory_format=layout)
    output.backward(pull.to(kind))
    truth = plain(expected)
    truth.backward(pull)
    torch.testing.assert_close(output.float(), truth, rtol=tolerance, atol=tolerance)
    gradient = found.grad.float()
    torch.testing.assert_close(gradient, expected.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["resnet20", "resnet20_gn"])
def test_resnet20_shrinks_the_image_twice(name):
    model = build(name).eval()
    shapes = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    assert shapes == [(16, 32, 32)] * 3 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3


def test_resnet20_shortcut_takes_every_second_pixel_and_adds_empty_channels():
    block = build("resnet20").blocks[3]
    images = torch.randn(2, 16, 8, 8)
    shortcut = block._shortcut(images)
    torch.testing.assert_close(shortcut[:, 8:24], images[:, :, ::2, ::2], rtol=0, atol=0)
    assert not shortcut[:, :8].any()
    assert not shortcut[:, 24:].any()


# Torchvision's count for 1,000 classes, with the head and the first convolution exchanged.
RESNET_WEIGHTS = {
    ("resnet18", "imagenet"): 11_689_512 - 513 * 990,
    ("resnet18", "cifar"): 11_689_512 - 513 * 990 - 64 * 3 * (49 - 9),
    ("resnet50", "cifar"): 25_557_032 - 2049 * 990 - 64 * 3 * (49 - 9),
}


@pytest.mark.parametrize(("name", "stem"), RESNET_WEIGHTS)
def test_resnet_weights_with_either_stem(name, stem):
    assert weights(build(name, stem=stem)) == RESNET_WEIGHTS[name, stem]


@pytest.mark.parametrize(("stem", "size"), [("cifar", 32), ("imagenet", 8)])
def test_the_stem_decides_how_far_images_shrink_before_the_first_block(stem, size):
    model = build("resnet18", stem=stem).eval()
    seen = []
    model.layer1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2:]))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert seen == [(size, size)]


def test_a_new_stem_starts_as_the_networks_other_convolutions():
    model = build("resnet18")
    expected = (2 / (9 * 64)) ** 0.5
    assert float(model.conv1.weight.detach().std()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("size", [8, 9, 28])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_small_network_takes_any_size_and_channels(size, channels):
    model = build("convnet", classes=4, image_shape=(size, size + 3, channels))
    assert model(torch.zeros(2, channels, size, size + 3)).shape == (2, 4)
    assert 20_000 < weights(model) < 60_000


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("convnet", "cifar"),
        ("resnet20", "imagenet"),
        ("resnet20_gn", "cifar"),
        ("resnet18", "cifar"),
        ("resnet18", "imagenet"),
        ("mobilenet_v3_small", "cifar"),
    ],
)
def test_grey_images_and_class_counts(name, stem):
    model = build(name, classes=3, image_shape=(32, 32, 1), stem=stem).eval()
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 3)


def test_a_replaced_first_convolution_keeps_the_spread_of_its_outputs():
    torch.manual_seed(0)
    spreads = []
    for channels in (3, 12):
        model = build("mobilenet_v3_small", image_shape=(32, 32, channels))
        outputs = model.features[0][0](torch.randn(8, channels, 32, 32))
        spreads.append(float(outputs.detach().std()))
    assert spreads[1] == pytest.approx(spreads[0], rel=0.2)


@pytest.mark.parametrize("name", ["convnet", "resnet20", "resnet20_gn", "mobilenet_v3_small"])
def test_the_seed_fixes_every_weight(name):
    first, again, other = (build(name, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_the_global_random_state_is_neither_read_nor_changed():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build("convnet", seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again = build("convnet", seed=3).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_a_built_model_is_ready_to_train():
    model = build("resnet20")
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.norm.running_mean.any()


def test_channels_last_gives_the_same_logits():
    model = build("resnet20").eval()
    images = torch.randn(2, 3, 16, 16)
    expected = model(images)
    model.to(memory_format=torch.channels_last)
    actual = model(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected)


def message(name: str, **changes) -> str:
    with pytest.raises(ParameterError) as caught:
        build(name, **changes)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_an_unknown_model_is_named_with_its_neighbours():
    text = message("resnet21")
    assert text.startswith("train.model: 'resnet21' is not one of convnet, ")
    assert text.endswith("; did you mean 'resnet20'?")
    assert all(name in text for name in MODELS)
    assert "did you mean" not in message("zzz")


@pytest.mark.parametrize(
    "name", ["fasterrcnn_resnet50_fpn", "fcn_resnet50", "r3d_18", "quantized_resnet18"]
)
def test_models_that_classify_no_images_are_unknown(name):
    assert "is not one of" in message(name)


def test_a_model_that_does_not_end_in_a_linear_layer_gives_its_logits_all_the_same():
    model = build("squeezenet1_1", classes=4, image_shape=(64, 64, 3)).eval()
    features, logits = features_and_logits(model, torch.ones(2, 3, 64, 64))
    assert torch.equal(logits, model(torch.ones(2, 3, 64, 64)))
    assert features.shape == (2, 0)
    with pytest.raises(ParameterError, match=r"SqueezeNet gives logits that are no linear layer"):
        last_layer(model)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("densenet121", (8, 8, 1), "cannot take images of 8 x 8 pixels"),
        ("vit_b_32", (33, 33, 3), "cannot be built for images of 33 x 33 pixels"),
        ("vit_b_32", (32, 64, 3), "takes square images"),
        ("convnet", (8, 8), "not of shape (8, 8)"),
        ("convnet", (8, 8, 0), "not of shape (8, 8, 0)"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, shape, reason):
    text = message(name, image_shape=shape)
    assert text.startswith("train.model: ")
    assert reason in text
    assert "\n" not in text


def test_nonsense_is_refused():
    assert message("convnet", classes=1).startswith("train.model: convnet needs at least 2 classes")
    assert message("convnet", stem="wide").startswith("train.stem: 'wide'")
