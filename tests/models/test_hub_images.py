"""Image classifiers of transformers from a folder, and timm's from the hub's cache: tiny ones."""

import json
import threading
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import load_file, save_file

from crest.config import parse
from crest.errors import ParameterError
from crest.models import ModelSpec, preprocessing_of, spec_for, starting, weights
from crest.models.depth import rate_factors
from crest.models.freezing import freeze_backbone
from crest.models.grafting import head_keys
from crest.models.head import last_layer
from tests.tiny import image_meta

CONFIG = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "image_size": 16,
    "patch_size": 8,
    "num_channels": 3,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "id2label": {"0": "a", "1": "b"},
}
PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.1],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": 16, "width": 16},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ViT of two classes, as transformers saves it; not to be written to."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("vit")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = transformers.ViTConfig(**{k: v for k, v in CONFIG.items() if k != "model_type"})
        transformers.ViTForImageClassification(config).save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return path


def transformers_state(folder):
    """Return the weights by the names that transformers has for them, which files have not."""
    from transformers import ViTForImageClassification

    return ViTForImageClassification.from_pretrained(folder).state_dict()


def settings(model, **changes):
    return parse({"train": {"model": str(model), **changes}}, "test").train


def spec_of(given, meta=None):
    meta = meta or image_meta()
    return spec_for(given, meta, preprocessing_of(given, meta))


def test_it_starts_from_its_body_with_a_fresh_head_for_the_classes(folder):
    spec = spec_of(settings(folder))
    assert (spec.classes, spec.image_shape) == (3, (8, 8, 3))  # of grey images of 8 x 8
    first, second = spec.fresh(0), spec.fresh(1)
    source = transformers_state(folder)
    assert head_keys(first) == {"network.classifier.weight", "network.classifier.bias"}
    for key, value in first.state_dict().items():
        if key in head_keys(first):
            assert not torch.equal(value, second.state_dict()[key]) or key.endswith("bias")
        else:
            assert torch.equal(value, source[key.removeprefix("network.")])
    assert last_layer(first) is first.network.classifier
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    network = first.eval().network
    expected = network(pixel_values=images, interpolate_pos_encoding=True).logits
    assert torch.equal(first(images), expected)


def test_its_preprocessing_is_its_folders(folder):
    found = preprocessing_of(settings(folder), image_meta())
    assert found.mean == (0.5, 0.4, 0.3)
    assert found.std == pytest.approx((0.2, 0.2, 0.1))
    assert (found.size, found.interpolation) == (16, "bicubic")
    assert preprocessing_of(settings(folder, weights="random"), image_meta()) is None


@pytest.mark.parametrize("start", ["random", "pretrained"])
def test_a_file_of_an_earlier_run_says_itself_how_images_are_wanted(folder, tmp_path, start):
    meta = replace(image_meta(), image_shape=[16, 16, 3], mean=[0.5] * 3, std=[0.2] * 3)
    spec = spec_of(settings(folder, weights=start), meta)
    path = tmp_path / "model.safetensors"
    weights.save(spec.fresh(0), spec, path)
    again = settings(folder, weights=str(path))
    assert preprocessing_of(again, meta) == spec.preprocessing


def test_it_is_read_back_without_its_folder(folder, tmp_path):
    spec = spec_of(settings(folder))
    model = spec.fresh(0)
    weights.save(model, spec, tmp_path / "model.safetensors")
    again, read = weights.load_model(tmp_path / "model.safetensors")
    assert read == spec
    assert read.preprocessing == spec.preprocessing
    for key, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])


def test_its_rates_and_its_freezing_are_by_its_parts(folder):
    model = spec_of(settings(folder)).fresh(0)
    rates = {
        name: rate_factors(model, 0.5, 3.0)[weight] for name, weight in model.named_parameters()
    }
    by_depth = {
        key: value
        for key, value in rates.items()
        if key.endswith(("cls_token", "classifier.weight", "layernorm.weight"))
    }
    assert set(by_depth.values()) == {0.125, 0.5, 3.0}
    freeze_backbone(model)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {"network.classifier.weight", "network.classifier.bias"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tensors: tensors.popitem(), "lacks .* pretrained weights"),
        (
            lambda tensors: tensors.update({next(iter(tensors)): torch.zeros(2)}),
            "lacks|is of|loaded",
        ),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(folder, tmp_path, change, expected):
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    tensors = {
        key: value
        for key, value in load_file(folder / "model.safetensors").items()
        if not key.startswith("classifier")
    }
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ParameterError, match=expected):
        spec_of(settings(tmp_path)).fresh(0)


def test_a_folder_that_does_not_say_how_it_wants_images_is_refused(folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ParameterError, match=r"preprocessor_config\.json: no such file"):
        preprocessing_of(settings(tmp_path), image_meta())


class Hub(BaseHTTPRequestHandler):
    """Answers its clients as the hub does, of one repository: somebody/vit."""

    COMMIT = "1" * 40

    def __init__(self, folder, asked, *arguments):
        self.folder, self.asked = folder, asked
        super().__init__(*arguments)

    def do_GET(self):
        self.asked.append((self.command, self.path))
        if self.path == "/api/models/somebody/vit":
            siblings = [{"rfilename": path.name} for path in self.folder.iterdir()]
            about = {"id": "somebody/vit", "sha": self.COMMIT, "siblings": siblings}
            self.answer(200, json.dumps(about).encode(), {"Content-Type": "application/json"})
            return
        path = self.folder / self.path.rpartition("/")[2]
        if "/somebody/vit/resolve/" not in self.path or not path.is_file():
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        etag = f'"{sha256(content).hexdigest()}"'
        self.answer(200, content, {"ETag": etag, "X-Repo-Commit": self.COMMIT})

    def do_HEAD(self):
        self.do_GET()

    def answer(self, status, content, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


def test_a_name_of_the_hub_is_its_folder_and_later_the_cache(folder, tmp_path, monkeypatch):
    """Through the hub's own client, from a server on this machine."""
    from huggingface_hub import constants

    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    named, there = settings("somebody/vit"), settings(folder)
    known = preprocessing_of(there, image_meta())
    for _ in range(2):
        found = preprocessing_of(named, image_meta())
        assert found == replace(known, source="somebody/vit's preprocessor_config.json")
        loaded, expected = (spec_of(given).fresh(0).state_dict() for given in (named, there))
        assert all(torch.equal(loaded[key], value) for key, value in expected.items())
        fetched = [path.rpartition("/")[2] for command, path in asked if command == "GET"]
        assert fetched.count("model.safetensors") == 1
        server.shutdown()  # what comes next is the cache
        server.server_close()


TIMM = "timm/test_vit.r160_in1k"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Let the hub's cache hold weights of timm's smallest ViT."""
    timm = pytest.importorskip("timm")
    from huggingface_hub import constants

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = timm.create_model("test_vit", pretrained=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    store = tmp_path / "models--timm--test_vit.r160_in1k"
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("abc")
    (store / "snapshots" / "abc").mkdir(parents=True)
    path = store / "snapshots" / "abc" / "model.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path, model


def test_timms_weights_come_from_the_hubs_cache_as_safetensors(cached):
    _, source = cached
    spec = ModelSpec(TIMM, 3, (160, 160, 3))
    model = spec.fresh(0)
    head = head_keys(model)
    for key, value in model.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]) != (key in head)
    small = ModelSpec(TIMM, 3, (96, 96, 3)).fresh(0)  # its positions are interpolated
    assert small.pos_embed.shape[1] < model.pos_embed.shape[1]
    found = starting.start_of(TIMM, None).preprocessing()
    assert (found.size, len(found.mean)) == (160, 3)
    assert ModelSpec(TIMM, 3, (160, 160, 3), weights="random").fresh(0).state_dict().keys() == (
        model.state_dict().keys()
    )


def test_timms_weights_that_lack_a_part_of_the_backbone_are_refused(cached):
    path, source = cached
    tensors = {key: value.contiguous() for key, value in source.state_dict().items()}
    del tensors["blocks.1.attn.qkv.weight"]
    save_file(tensors, path)
    with pytest.raises(ParameterError, match="Missing key"):
        ModelSpec(TIMM, 3, (160, 160, 3)).fresh(0)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("timm/resnet1", None, "timm .* has no resnet1; did you mean timm/"),
        (
            "timm/resnet18.nothing",
            None,
            "timm has no weights 'nothing' of resnet18; it has a1_in1k",
        ),
        ("timm/resnet18.a1_in1k", "a2_in1k", "'a2_in1k', and train.model: .* names 'a1_in1k'"),
        ("timm/resnet18", None, "has no model.safetensors here .*hf download timm/resnet18"),
    ],
)
def test_what_timm_does_not_have(cached, name, given, expected):
    with pytest.raises(ParameterError, match=expected):
        ModelSpec(name, 3, (64, 64, 3), weights=given).fresh(0)
