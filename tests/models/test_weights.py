import errno
import json
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from crest import models
from crest.artifacts import seals
from crest.errors import ArtifactError
from crest.models import ModelSpec, weights

SPEC = ModelSpec("convnet", 10, (8, 8, 1))


def build(spec: ModelSpec = SPEC, seed: int = 1) -> nn.Module:
    return models.build(
        spec.name, classes=spec.classes, image_shape=spec.image_shape, stem=spec.stem, seed=seed
    )


def assert_equal_states(first: nn.Module, second: nn.Module) -> None:
    expected, actual = first.state_dict(), second.state_dict()
    assert expected.keys() == actual.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, actual[name]), name
        assert tensor.dtype == actual[name].dtype, name


@pytest.fixture
def model() -> nn.Module:
    """A model whose BatchNorm has seen a mini-batch."""
    model = build()
    model(torch.randn(16, 1, 8, 8))
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def message(call, *arguments) -> str:
    with pytest.raises(ArtifactError) as caught:
        call(*arguments)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip(model, path):
    weights.save(model, SPEC, path)
    loaded, spec = weights.load_model(path)
    assert spec == SPEC == weights.read_spec(path)
    assert_equal_states(model, loaded)
    images = torch.randn(4, 1, 8, 8)
    assert torch.equal(model.eval()(images), loaded.eval()(images))


def test_other_stems_and_shapes_round_trip(path):
    spec = ModelSpec("resnet18", 3, (16, 12, 2), "imagenet")
    model = build(spec)
    weights.save(model, spec, path)
    loaded, found = weights.load_model(path)
    assert found == spec
    assert_equal_states(model, loaded)


def test_nothing_but_the_file_is_left_and_folders_are_made(model, tmp_path):
    path = tmp_path / "new" / "folder" / "model.safetensors"
    weights.save(model, SPEC, path)
    weights.save(model, SPEC, path)
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(model, path, monkeypatch):
    weights.save(model, SPEC, path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "cannot be written: No space left" in message(weights.save, build(seed=2), SPEC, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_an_error(model, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in message(weights.save, model, SPEC, tmp_path / "file" / "model")


def test_the_file_holds_float32_in_the_standard_layout(model, path):
    model.to(torch.bfloat16).to(memory_format=torch.channels_last)
    weights.save(model, SPEC, path)
    tensors = safetensors.torch.load_file(path)
    for name, tensor in model.state_dict().items():
        expected = torch.float32 if tensor.is_floating_point() else torch.int64
        assert tensors[name].dtype == expected
        assert tensors[name].is_contiguous()
        assert torch.equal(tensors[name], tensor.to(expected))


def test_layout_and_types_of_the_target_survive(model, path):
    model.to(memory_format=torch.channels_last)
    model.norms[0].running_mean = model.norms[0].running_mean.to(torch.bfloat16)
    weights.save(model, SPEC, path)
    target = build(seed=2).to(memory_format=torch.channels_last)
    target.norms[0].running_mean = target.norms[0].running_mean.to(torch.bfloat16)
    strides = [parameter.stride() for parameter in target.parameters()]
    weights.load_into(target, path, SPEC)
    assert_equal_states(model, target)
    assert [parameter.stride() for parameter in target.parameters()] == strides


def test_tied_weights_are_written(path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    weights.save(model, SPEC, path)
    target = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    weights.load_into(target, path)
    assert_equal_states(model, target)


def test_a_missing_file(path):
    for call in (weights.read_spec, weights.load_model):
        assert message(call, path).startswith(f"{path}: no such file")
    assert "no such file" in message(weights.load_into, build(), path)


def test_a_folder(tmp_path):
    assert "is a folder" in message(weights.load_model, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle in a zip", b"\xff" * 64])
def test_not_safetensors(path, content):
    path.write_bytes(content)
    assert "not a safetensors file" in message(weights.load_model, path)
    assert "not a safetensors file" in message(weights.load_into, build(), path)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.999])
def test_cut_short(model, path, share):
    weights.save(model, SPEC, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "cut short" in message(weights.load_model, path)


def test_another_architecture(model, path):
    weights.save(model, SPEC, path)
    other = ModelSpec("resnet20", 10, (8, 8, 1))
    text = message(weights.load_into, build(other), path, other)
    assert "holds convnet for 10 classes" in text
    assert "not resnet20 for 10 classes" in text
    assert text == message(weights.load_model, path, other)


def test_another_number_of_classes(model, path):
    weights.save(model, SPEC, path)
    other = ModelSpec("convnet", 7, (8, 8, 1))
    text = message(weights.load_into, build(other), path, other)
    assert "convnet for 10 classes" in text
    assert "not convnet for 7 classes" in text


def test_another_model_without_a_spec_is_left_unchanged(model, path):
    weights.save(model, SPEC, path)
    target = build(ModelSpec("convnet", 7, (8, 8, 1)))
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    text = message(weights.load_into, target, path)
    assert "linear.weight is 10 x 64 in the file, 7 x 64 in the model" in text
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())
    assert "and" in message(weights.load_into, build(ModelSpec("resnet20", 10, (8, 8, 1))), path)


def test_a_plain_safetensors_file_needs_a_spec(model, path):
    safetensors.torch.save_file(model.state_dict(), path)
    for call in (weights.read_spec, weights.load_model):
        assert "pass the model's spec" in message(call, path)
    loaded, spec = weights.load_model(path, SPEC)
    assert spec == SPEC
    assert_equal_states(model, loaded)
    target = build(seed=2)
    weights.load_into(target, path, SPEC)
    assert_equal_states(model, target)


def rewrite(path: Path, **changes: str | None) -> None:
    """Write the file again with other metadata."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), seals.KEY: None, **changes}
    kept = {key: value for key, value in metadata.items() if value is not None}
    safetensors.torch.save_file(tensors, path, metadata=kept)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": "2"}, "written in version 2"),
        ({"classes": "ten"}, "makes no sense"),
        ({"classes": None}, "makes no sense"),
        ({"image_shape": json.dumps([8, 8])}, "makes no sense"),
        ({"image_shape": "8"}, "makes no sense"),
        ({"model": "resnet21"}, "'resnet21' is not one of"),
        ({"classes": "7"}, "linear.weight is 10 x 64 in the file"),
    ],
)
def test_damaged_metadata(model, path, changes, reason):
    weights.save(model, SPEC, path)
    rewrite(path, **changes)
    text = message(weights.load_model, path)
    assert text.startswith(f"{path}: ")
    assert reason in text


def test_the_same_weights_are_the_same_file(model, tmp_path):
    for number in range(6):
        weights.save(model, SPEC, tmp_path / f"{number}.safetensors")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_no_bit_of_a_file_changes_unnoticed(model, path):
    weights.save(model, SPEC, path)
    whole = path.read_bytes()
    for bit in [*range(0, 64, 7), *range(64, 8 * len(whole), 8 * len(whole) // 150)]:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with suppress(ArtifactError):  # else a bit of the checksum's name
            loaded, spec = weights.load_model(path)
            assert spec == SPEC
            assert_equal_states(model, loaded)
    first_weight = bytearray(whole)
    first_weight[-1000] ^= 1
    path.write_bytes(first_weight)
    assert "its content is not that of its checksum, crest_sha256 in its head" in message(
        weights.load_model, path
    )


def test_a_file_that_may_not_be_read_is_not_called_damaged(model, path, monkeypatch):
    weights.save(model, SPEC, path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    expected = f"{path}: cannot be read: Permission denied; make it readable"
    assert message(weights.load_model, path) == expected


def test_a_type_that_torch_lacks_is_said(path):
    """safetensors' own reader raises a KeyError over it."""
    head = b'{"a":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[0,1]}}      '
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"\0")
    assert message(weights.load_into, build(), path).startswith(f"{path}: ")


def test_the_digest_tells_weights_apart(model):
    before = weights.digest(model)
    assert before == weights.digest(model)
    assert before == weights.digest(model.to(memory_format=torch.channels_last))
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    assert before != weights.digest(model)
