"""Learning rates by depth, against levels counted by hand and timm's, where it is installed."""

import pytest
import torch
from torch import nn

from crest import models
from crest.models.depth import levels, rate_factors
from crest.models.freezing import freeze_backbone
from crest.regions.curvature import covered_parameters


def build(name: str, **changes) -> nn.Module:
    given = {"classes": 3, "image_shape": (32, 32, 3), "stem": "cifar", "seed": 0}
    return models.build(name, **{**given, **changes})


def by_name(model: nn.Module, values: dict[nn.Parameter, float]) -> dict[str, float]:
    return {name: values[weight] for name, weight in model.named_parameters()}


def test_a_residual_networks_blocks_are_its_levels():
    model = build("resnet18")
    found = by_name(model, levels(model))
    expected = {"conv1.weight": 0, "bn1.bias": 0, "layer1.0.conv1.weight": 1, "fc.weight": 9}
    expected |= {"layer1.1.bn2.weight": 2, "layer4.0.downsample.0.weight": 7, "fc.bias": 9}
    assert {name: found[name] for name in expected} == expected


def test_a_models_layers_are_levels_where_it_has_no_blocks():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    assert list(levels(model).values()) == [1, 1, 1, 1, 2, 2]


def test_rates_fall_from_the_head_down_and_the_head_has_its_own():
    model = build("resnet18")
    found = by_name(model, rate_factors(model, 0.5, 10.0))
    assert found["fc.weight"] == found["fc.bias"] == 10.0
    assert found["layer4.1.conv2.weight"] == 0.5
    assert found["conv1.weight"] == 0.5**9


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_levels_are_timms(name):
    """Of a ViT to the block; of a residual network timm counts stages, so that order must agree."""
    timm = pytest.importorskip("timm")
    from timm.optim import param_groups_layer_decay

    model = timm.create_model(name, num_classes=3)
    groups = param_groups_layer_decay(model, layer_decay=0.5, weight_decay=0.1)
    timms = {weight: group["lr_scale"] for group in groups for weight in group["params"]}
    models.features_and_logits(model.eval(), torch.zeros(1, 3, 224, 224))
    ours = rate_factors(model, 0.5, 1.0)
    if name.startswith("vit"):
        assert ours == timms
    pairs = list(zip(ours.values(), (timms[weight] for weight in ours), strict=True))
    assert all((one[0] <= other[0]) or (one[1] >= other[1]) for one in pairs for other in pairs)


def test_a_frozen_backbone_leaves_the_head_alone_to_train_and_to_model():
    model = freeze_backbone(build("resnet18"))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained == ["fc.weight", "fc.bias"]
    head = list(model.fc.parameters())
    for quadratic in ("full", "last_layer"):
        found = covered_parameters(model, quadratic)
        assert [id(weight) for weight in found] == [id(weight) for weight in head]
