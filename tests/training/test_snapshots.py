"""Snapshots: the weights of their moments, whenever the run was stopped in between."""

from pathlib import Path

import pytest
import torch

from crest.errors import ArtifactError
from crest.models import spec_for
from crest.models.weights import load_model
from crest.training.snapshots import Snapshots, find_snapshots, snapshot_name
from tests.tiny import convnet, image_meta, parameters

SPEC = spec_for(parameters().train, image_meta())


def snapshots(folder: Path) -> Snapshots:
    return Snapshots(folder / "kept", SPEC, {2, 10})


def steps(folder: Path) -> list[int]:
    return list(find_snapshots(folder))


def test_they_are_of_their_steps_and_hold_the_weights(tmp_path: Path) -> None:
    kept = snapshots(tmp_path)
    assert [step for step in range(12) if kept.due(step)] == [2, 10]
    kept.begin(0)
    for step in (2, 10):
        kept.save(convnet(seed=step), step)
    kept.copy_to(tmp_path / "copies")
    found = find_snapshots(tmp_path / "copies")
    assert list(found) == [2, 10]
    model, spec = load_model(found[10])
    assert spec == SPEC
    expected = convnet(seed=10).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert steps(tmp_path / "kept") == [2, 10]


def test_a_run_from_the_start_forgets_those_of_an_earlier_one(tmp_path: Path) -> None:
    snapshots(tmp_path).save(convnet(), 2)
    snapshots(tmp_path).begin(0)
    assert steps(tmp_path / "kept") == []


def test_a_run_that_goes_on_needs_those_it_has_passed(tmp_path: Path) -> None:
    snapshots(tmp_path).save(convnet(), 2)
    snapshots(tmp_path).begin(9)
    assert steps(tmp_path / "kept") == [2]
    with pytest.raises(ArtifactError, match=r"step_10\.safetensors: a snapshot .* gone; .*--fresh"):
        snapshots(tmp_path).begin(10)


def test_a_damaged_snapshot_is_neither_kept_nor_copied(tmp_path: Path) -> None:
    for step in (2, 10):
        snapshots(tmp_path).save(convnet(), step)
    path = tmp_path / "kept" / snapshot_name(2)
    content = bytearray(path.read_bytes())
    content[-7] ^= 16
    path.write_bytes(content)
    snapshots(tmp_path).begin(1)
    with pytest.raises(ArtifactError, match=r"step_2\.safetensors: .* damaged .*--fresh"):
        snapshots(tmp_path).begin(2)
    with pytest.raises(ArtifactError, match=r"step_2\.safetensors: .* damaged .*--fresh"):
        snapshots(tmp_path).copy_to(tmp_path / "copies")


def test_a_folder_that_is_not_there_or_holds_other_files_has_none(tmp_path: Path) -> None:
    assert find_snapshots(tmp_path / "nowhere") == {}
    (tmp_path / "step_x.safetensors").touch()
    (tmp_path / snapshot_name(10)).touch()
    (tmp_path / snapshot_name(9)).touch()
    assert steps(tmp_path) == [9, 10]
