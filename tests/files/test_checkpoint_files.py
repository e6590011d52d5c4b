"""Whatever is read of a model's folder lies in it, is a plain file and makes sense."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from crest.devices.machine import memory
from crest.errors import ParameterError
from crest.files.checkpoint_files import check_description, check_folder, describe, require_memory

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text('{"model_type": "bert", "num_hidden_layers": 2}')
    save_file({"a.weight": torch.ones(2)}, place / WEIGHTS)
    return place


def index(folder: Path, files: object, **changes: object) -> None:
    (folder / WEIGHTS).rename(folder / "part.safetensors")
    content = {"metadata": {"total_size": 8}, "weight_map": files, **changes}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(content))


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def change(folder: Path) -> object:
        (folder / name).unlink()
        return make(folder / name)

    return change


def moved_out(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(f"../{name}")

    return change


def text(content: bytes | str) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / "config.json").write_bytes(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (moved_out(WEIGHTS), "model.safetensors: a link out of the folder, to"),
        (moved_out("config.json"), "config.json: a link out of the folder, to"),
        (replaced(WEIGHTS, os.mkfifo), "no plain file"),
        (replaced(WEIGHTS, lambda path: path.symlink_to("/dev/zero")), "no plain file"),
        (replaced(WEIGHTS, Path.mkdir), "no plain file"),
        (replaced(WEIGHTS, lambda path: path.symlink_to(WEIGHTS)), "no such file"),
        (replaced("config.json", os.mkfifo), "no plain file"),
        (
            replaced(WEIGHTS, lambda path: (path.parent / "pytorch_model.bin").touch()),
            "its .bin files are pickles",
        ),
        (lambda folder: index(folder, {"a": "../part.safetensors"}), "lead out of the folder"),
        (lambda folder: index(folder, {"a": "/part.safetensors"}), "lead out of the folder"),
        (lambda folder: index(folder, {"a": ".."}), "lead out of the folder"),
        (lambda folder: index(folder, {"a": "part.bin"}), "no .safetensors file"),
        (lambda folder: index(folder, {"a": "other.safetensors"}), "no such file"),
        (lambda folder: index(folder, {"a": 3}), "no .safetensors file"),
        (lambda folder: index(folder, {}), "no index of weights"),
        (lambda folder: index(folder, [1]), "no index of weights"),
        (lambda folder: index(folder, {"a": "part.safetensors"}, metadata=None), "no index"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), "not a safetensors file"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"\xff" * 99), "not a safetensors file"),
        (lambda folder: (folder / "adapter_config.json").touch(), "an adapter of PEFT; merge it"),
        (text("{"), "no JSON"),
        (text(""), "no JSON"),
        (text(b'{"a": "\xe9"}'), "no JSON"),
        (text("[1]"), "no object of names and values"),
        (text('{"a": ' * 10**5 + "1" + "}" * 10**5), "nested without end"),
        (text('{"a": ' + "[" * 90 + "]" * 90 + "}"), "nested more than 32 deep"),
    ],
)
def test_what_leads_out_is_damaged_or_makes_no_sense_is_refused(
    folder: Path, change: Callable[[Path], object], message: str
) -> None:
    change(folder)
    with pytest.raises(ParameterError) as caught:
        check_folder(folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"train.model: {folder}")


def test_shards_links_within_the_folder_and_the_hubs_cache_are_read(
    folder: Path, tmp_path: Path
) -> None:
    (folder / WEIGHTS).rename(folder / "weights.safetensors")
    (folder / WEIGHTS).symlink_to("weights.safetensors")
    assert check_folder(folder)["model_type"] == "bert"
    index(folder, {"a.weight": "part.safetensors"})
    assert check_folder(folder)["num_hidden_layers"] == 2
    snapshot = tmp_path / "models--some--model" / "snapshots" / "0123"
    blobs = snapshot.parent.parent / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, name in enumerate(("config.json", "weights.safetensors")):
        (folder / name).rename(blobs / str(number))
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    (snapshot / "weights.safetensors").rename(snapshot / WEIGHTS)
    assert check_folder(snapshot)["model_type"] == "bert"


def test_the_parameter_that_names_the_folder_is_told(folder: Path) -> None:
    (folder / "config.json").write_text("3")
    with pytest.raises(ParameterError, match=r"^prepare\.tokenizer: .*config\.json"):
        describe(folder, "prepare.tokenizer")


def test_sizes_within_parts_of_a_description_count_too() -> None:
    for values in ({"vision_config": {"depths": [2, 10**6]}}, {"rope": {"head_dim": 2**31}}):
        with pytest.raises(ParameterError, match="which no model can have"):
            check_description(values, "odd")
    check_description({"rope_theta": 10**12, "depths": [2, 18], "flag": True}, "fine")


def test_what_takes_more_than_the_memory_is_told_with_both() -> None:
    with pytest.raises(ParameterError, match=r"odd would take .* for its weights alone, and there"):
        require_memory(2 * memory(), "odd")
    require_memory(memory(), "fits")
