"""run.json: what a result depends on."""

import platform
import subprocess
from importlib.metadata import version

import pytest
import torch

from crest import artifacts
from crest.config import parse
from crest.data.files import read_meta
from crest.devices.precision import Precision
from crest.pipeline import provenance
from tests.tiny import CPU, FLOAT32, digits_parameters


def described(digits, precision=FLOAT32, **sections):
    meta = read_meta(digits.prepared)
    return provenance.describe(digits_parameters(**sections), meta, precision, "full", "convnet")


def test_every_parameter_is_written_down_and_gives_the_same_parameters_again(runs):
    found = artifacts.read_json(runs.train("crest") / artifacts.RUN)
    assert parse(found["parameters"], "run.json") == digits_parameters()
    assert (found["method"], found["model"]) == ("crest", "convnet")


def test_the_data_are_named_by_their_content(digits):
    meta = read_meta(digits.prepared)
    assert described(digits)["data"] == {
        "dataset": "digits",
        "content_hash": meta.content_hash,
        "sizes": {"train": 1297, "validation": 145, "test": 355},
        "classes": 10,
    }


def test_the_versions_are_those_that_are_installed(digits):
    versions = described(digits)["versions"]
    assert versions["python"] == platform.python_version()
    assert versions["torch"] == version("torch")
    assert versions.keys() == {"python", *provenance.PACKAGES}


@pytest.mark.parametrize("name", ["float32", "bf16"])
def test_the_device_and_its_precision_are_named(digits, name):
    device = described(digits, Precision(name, CPU))["device"]
    assert (device["device"], device["precision"], device["cuda"]) == ("cpu", name, None)
    assert device["name"]
    assert device["threads"] == torch.get_num_threads()


def test_a_gpu_is_named(digits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    device = described(digits, Precision("bf16", torch.device("cuda:1")))["device"]
    assert (device["device"], device["name"]) == ("cuda:1", "GPU of cuda:1")


def test_the_commit_is_that_of_the_code(digits, monkeypatch, tmp_path):
    def git(*command):
        names = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        done = subprocess.run(
            ["git", *names, *command], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    code = tmp_path / "provenance.py"
    code.touch()
    monkeypatch.setattr(provenance, "__file__", str(code))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert described(digits)["git_commit"] is None
    git("init", "--quiet")
    git("add", "provenance.py")
    git("commit", "--quiet", "--message", "one")
    commit = git("rev-parse", "HEAD")
    assert described(digits)["git_commit"] == commit
    code.write_text("changed")
    assert described(digits)["git_commit"] == f"{commit}-dirty"


def test_without_git_there_is_no_commit(digits, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert described(digits)["git_commit"] is None
