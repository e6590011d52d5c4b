"""Pretrained weights: what is read, from where, and what of it ends up in a model."""

import hashlib
import json
import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from crest import models
from crest.data.preprocessing import Preprocessing
from crest.errors import ParameterError
from crest.models import ModelSpec, preprocessing_of, spec_for, starting, weights
from crest.models.grafting import graft, head_keys
from crest.models.head import features_and_logits
from crest.parameters.sections import TrainParameters
from tests.tiny import image_meta

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SMALL = "squeezenet1_1"  # the smallest of torchvision's that ends in a convolution
NAME = "shufflenet_v2_x0_5"  # and of those that end in a linear layer


@pytest.fixture(scope="module")
def pretrained() -> nn.Module:
    """Stand for the network that torchvision's file holds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return torchvision.models.get_model(NAME, weights=None)


@pytest.fixture
def cache(tmp_path, monkeypatch, pretrained):
    """Let torch's cache hold a file of weights whose name has its hash, and no network be there."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = tmp_path / "made.pth"
    torch.save(pretrained.state_dict(), made)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()[:8]
    path = tmp_path / "checkpoints" / f"{NAME}-{digest}.pth"
    path.parent.mkdir()
    made.rename(path)
    url = f"https://download.example/{path.name}"
    known = torchvision.models.get_model_weights(NAME)
    monkeypatch.setattr(known, "url", property(lambda _: url))
    return path


def spec(**changes) -> ModelSpec:
    given = {"name": NAME, "classes": 4, "image_shape": (64, 64, 3), "weights": "pretrained"}
    return ModelSpec(**{**given, **changes})


def test_torchvisions_weights_come_with_a_fresh_head_of_the_seed(cache, pretrained):
    first, second = spec().fresh(0), spec().fresh(1)
    source = pretrained.state_dict()
    assert head_keys(first) == {"fc.weight", "fc.bias"}
    for key, value in first.state_dict().items():
        if key in head_keys(first):
            assert value.shape[0] == 4
            assert not torch.equal(value, second.state_dict()[key])
        else:
            assert torch.equal(value, source[key])
    drawn = spec(weights=None).fresh(0)
    assert torch.equal(first.fc.weight, drawn.fc.weight)  # a head that weights do not change


def test_with_as_many_classes_a_librarys_head_is_fresh_too(cache, pretrained):
    model = spec(classes=1000).fresh(0)
    assert not torch.equal(model.fc.weight, pretrained.fc.weight)


@pytest.mark.parametrize("given", ["pretrained", "DEFAULT", "IMAGENET1K_V1"])
def test_the_preprocessing_is_what_torchvisions_transforms_do(given):
    settings = TrainParameters(model="resnet18", weights=given)
    found = preprocessing_of(settings, image_meta())
    assert (found.mean, found.std) == IMAGENET
    assert (found.size, found.interpolation) == (224, "bilinear")
    assert found.source == "torchvision's ResNet18_Weights.IMAGENET1K_V1"


@pytest.mark.parametrize("name", ["convnet", "resnet18", "vit_b_16"])
def test_an_architecture_alone_asks_for_no_weights(name):
    assert preprocessing_of(TrainParameters(model=name), image_meta()) is None
    assert starting.start_of(name, None) is None


def test_grey_images_go_through_as_three_channels():
    settings = TrainParameters(model="resnet18", weights="pretrained", stem="imagenet")
    meta = image_meta()
    found = spec_for(settings, meta, preprocessing_of(settings, meta))
    assert found.image_shape == (8, 8, 3)
    assert found.misfit(meta) is None


def test_a_file_that_is_not_what_its_name_says_is_refused(cache):
    cache.write_bytes(cache.read_bytes()[:-1] + b"x")
    with pytest.raises(ParameterError, match="its SHA-256 does not begin with"):
        spec().fresh(0)


def test_a_pickle_that_holds_more_than_tensors_is_not_run(cache, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was here"), "w"))

    content = pickle.dumps(Evil())
    path = cache.with_name(f"{NAME}-{hashlib.sha256(content).hexdigest()[:8]}.pth")
    path.write_bytes(content)
    with pytest.raises(ParameterError, match="holds more than tensors"):
        starting.torchvision_state(f"https://download.example/{path.name}")
    assert not (tmp_path / "was here").exists()


def test_offline_says_where_the_file_is_to_be(cache):
    cache.unlink()
    with pytest.raises(ParameterError, match=f"{cache}: no such file, and HF_HUB_OFFLINE is set"):
        spec().fresh(0)


def test_a_file_that_is_asked_for_is_fetched_and_held_against_its_name(
    cache, monkeypatch, tmp_path, pretrained
):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    there = tmp_path / "elsewhere" / cache.name
    there.parent.mkdir()
    cache.rename(there)
    found = starting.torchvision_state(there.as_uri())
    assert torch.equal(found["fc.weight"], pretrained.fc.weight)
    assert cache.is_file()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weights": "IMAGENET1K_V9"}, "torchvision has no 'IMAGENET1K_V9' of .*; it has pretrain"),
        ({"name": "convnet"}, "there are no pretrained weights of convnet"),
        ({"weights": "no/such.safetensors"}, "no/such.safetensors: no such file"),
        ({"weights": "x.pth"}, "x.pth: a pickle"),
    ],
)
def test_weights_that_are_not_there(cache, changes, expected):
    with pytest.raises(ParameterError, match=expected):
        spec(**changes).fresh(0)


def test_a_residual_network_of_another_stem_is_refused(monkeypatch):
    start = starting.start_of("resnet18", "pretrained")
    model = spec(name="resnet18", weights=None).fresh(0)
    with pytest.raises(ParameterError, match=r"set train\.stem to imagenet"):
        start.put_into(model, (64, 64, 3), "cifar")


def earlier_run(tmp_path, classes=10, preprocessing=None):
    """Save what training wrote of a small model; returns the file and the model."""
    made = ModelSpec("convnet", classes, (16, 16, 3), preprocessing=preprocessing)
    model = made.fresh(3)
    path = tmp_path / "model.safetensors"
    weights.save(model, made, path)
    return path, model


@pytest.mark.parametrize(("classes", "kept"), [(10, True), (4, False)])
def test_an_earlier_runs_head_is_kept_where_it_has_as_many_classes(tmp_path, classes, kept):
    path, before = earlier_run(tmp_path)
    wanted = ModelSpec("convnet", classes, (16, 16, 3), weights=str(path))
    model = wanted.fresh(0)
    head = head_keys(model)
    for key, value in model.state_dict().items():
        old = before.state_dict()[key]
        assert torch.equal(value, old) if kept or key not in head else value.shape != old.shape
    assert starting.start_of("convnet", str(path)).preprocessing() is None


def test_an_earlier_runs_file_with_another_bit_is_refused(tmp_path):
    path, _ = earlier_run(tmp_path)
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"not that of its checksum"):
        ModelSpec("convnet", 10, (16, 16, 3), weights=str(path)).fresh(0)


def test_an_earlier_run_hands_on_how_its_weights_want_images(tmp_path):
    wanted = Preprocessing(*IMAGENET, 224, "bicubic", "somebody", 32)
    path, _ = earlier_run(tmp_path, preprocessing=wanted)
    assert starting.start_of("convnet", str(path)).preprocessing() == wanted
    assert weights.read_spec(path).preprocessing == wanted


def test_an_earlier_runs_size_is_not_taken_unasked(tmp_path):
    resized = Preprocessing(*IMAGENET, 224, "bicubic", "somebody", 32)
    path, _ = earlier_run(tmp_path, preprocessing=resized)
    given = TrainParameters(model="convnet", weights=str(path))
    assert preprocessing_of(given, image_meta()).resized is None
    asked = given.model_copy(update={"input_size": 16})
    assert preprocessing_of(asked, image_meta()).resized == 16


def test_random_weights_take_images_of_another_size_by_the_datas_statistics(tmp_path):
    given = TrainParameters(model="convnet", input_size=16)
    found, meta = preprocessing_of(given, image_meta()), image_meta()
    assert (list(found.mean), list(found.std), found.resized) == (meta.mean, meta.std, 16)
    assert spec_for(given, meta, found).image_shape == (16, 16, 1)
    path, _ = earlier_run(tmp_path, preprocessing=found)
    assert starting.start_of("convnet", str(path)).preprocessing() is None  # of other data


def test_a_foreign_file_is_taken_to_want_what_its_library_does(tmp_path, pretrained):
    path = tmp_path / "foreign.safetensors"
    save_file({key: value.contiguous() for key, value in pretrained.state_dict().items()}, path)
    start = starting.start_of(NAME, str(path))
    assert start.preprocessing().mean == IMAGENET[0]
    assert starting.start_of("convnet", str(path)).preprocessing() is None
    assert torch.equal(spec(weights=str(path)).fresh(0).conv1[0].weight, pretrained.conv1[0].weight)


def test_another_models_file_names_what_differs(tmp_path):
    path, _ = earlier_run(tmp_path)
    with pytest.raises(ParameterError, match=r"of train\.model: convnet, and it is resnet8"):
        ModelSpec("resnet8", 10, (16, 16, 3), weights=str(path)).fresh(0)


def small(classes: int = 4) -> nn.Module:
    return models.build("convnet", classes=classes, image_shape=(16, 16, 3), stem="cifar", seed=0)


def broken(case: str) -> dict[str, torch.Tensor]:
    tensors = {key: value.clone() for key, value in small().state_dict().items()}
    first = next(iter(tensors))
    if case == "missing":
        del tensors[first]
    elif case == "shape":
        tensors[first] = tensors[first][:1]
    elif case == "more":
        tensors["another"] = torch.zeros(1)
    elif case == "whole":
        tensors[first] = tensors[first].to(torch.int8)
    else:
        tensors[first] = torch.full_like(tensors[first], torch.nan)
    return tensors


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("missing", "is not in it"),
        ("shape", "there and .* in the model"),
        ("more", "the model has no another"),
        ("whole", "holds whole numbers"),
        ("nan", "not all finite"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(case, expected):
    model = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ParameterError, match=expected):
        graft(model, broken(case), "it", keep_head=False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_files_without_batchnorms_counts_are_taken():
    tensors = {
        key: value for key, value in small().state_dict().items() if "num_batches" not in key
    }
    assert graft(small(), tensors, "it", keep_head=True)


def test_a_vits_positions_are_interpolated(monkeypatch):
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    def vit(size: int, classes: int) -> nn.Module:
        return VisionTransformer(size, 16, 1, 2, 8, 8, num_classes=classes)

    source, model = vit(64, 10), vit(32, 3)
    features_and_logits(model.eval(), torch.zeros(1, 3, 32, 32))
    monkeypatch.setattr(starting, "torchvision_state", lambda _: dict(source.state_dict()))
    starting.start_of("vit_b_16", "pretrained").put_into(model, (32, 32, 3), "imagenet")
    expected = interpolate_embeddings(32, 16, dict(source.state_dict()))
    found = model.state_dict()["encoder.pos_embedding"]
    assert found.shape == (1, 5, 8)
    assert torch.equal(found, expected["encoder.pos_embedding"])


def test_what_a_preprocessing_says_survives_json():
    made = Preprocessing(*IMAGENET, None, None, "it", None)
    assert Preprocessing.from_json(made.as_json()) == made
    for odd in ("{}", json.dumps({**json.loads(made.as_json()), "std": [0.0] * 3}), "1"):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Preprocessing.from_json(odd)
