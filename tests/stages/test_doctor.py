"""doctor: what is said of the installation, the machine and the project."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from crest.pipeline.paths import Paths
from stages import doctor
from tests.tiny import digits_parameters

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GROUPS = {"all", "trackers", "trainers"}


def test_every_extra_is_known_with_what_it_brings() -> None:
    extras = PROJECT["optional-dependencies"]
    assert doctor.EXTRAS.keys() == extras.keys() - GROUPS
    for name, extra in doctor.EXTRAS.items():
        brought = {canonicalize_name(Requirement(text).name) for text in extras[name]}
        brought -= {"crest-coresets"}  # an extra that brings another
        assert {canonicalize_name(one) for one in extra.brings.values()} == brought, name
    assert set(doctor.CORE) == {Requirement(text).name for text in PROJECT["dependencies"]}


def test_what_is_missing_is_said_with_what_brings_it(monkeypatch) -> None:
    extra = doctor.Extra("a purpose", {"not_there": "not-there", "numpy": "numpy"})
    assert doctor._extra("some", extra) == (
        'a purpose: lacks not-there; pip install "crest-coresets[some]"'
    )
    whole = doctor.Extra("a purpose", {"numpy": "numpy"})
    assert doctor._extra("some", whole).startswith("a purpose: numpy ")


def test_a_project_is_described_as_it_stands(runs, tmp_path) -> None:
    parameters = digits_parameters()
    found = doctor.run(parameters, runs)
    assert found["project"]["data"] == "digits: train 1,297, validation 145, test 355, 10 classes"
    assert found["project"]["trained"] == "full, random, crest"
    assert found["machine"]["device"].startswith("cpu")
    assert found["machine"]["precision"].startswith("float32")
    empty = doctor.run(parameters, Paths(tmp_path))["project"]
    assert "run `python cli.py prepare` first" in empty["data"]
    assert empty["trained"].startswith("nothing yet")


def test_unfinished_runs_of_every_command_are_listed(tmp_path) -> None:
    paths = Paths(tmp_path)
    assert doctor.run(digits_parameters(), paths)["project"]["unfinished"] == "none"
    states = [
        paths.resume("train-crest"),
        paths.resume("repeat-random-2"),
        paths.reuse_state("OWNER/a.model"),
    ]
    states[0].parent.mkdir()
    for state in [*states, states[0].with_name(".train-full.safetensors")]:  # one being written
        state.touch()
    found = doctor.run(digits_parameters(), paths)["project"]["unfinished"]
    assert found == "repeat-random-2, reuse-OWNER--a.model, train-crest"


def test_a_device_that_is_not_there_is_said_and_hides_nothing_else(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = doctor.run(digits_parameters(train={"device": "cuda"}), Paths(tmp_path))
    assert "train.device" in found["machine"]["device"]
    assert found["machine"]["memory"]
