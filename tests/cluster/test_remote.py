"""Coresets by a DVC remote, a folder or S3: pushed here, pulled elsewhere, reused untrained."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from crest.artifacts import read_json, read_table
from tests.cluster.conftest import RUN
from tests.test_pipeline import command, commit

REUSED = "artifacts/reuse/convnet"


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """The address of an S3 server on this machine, which has a bucket."""
    for package in ("dvc_s3", "moto", "flask"):
        if find_spec(package) is None:
            pytest.skip(f"no {package}; the S3 remote is tested with dvc-s3 and moto[server]")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = subprocess.Popen(
        [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", port],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    make_bucket(address, server)
    yield address
    server.kill()
    server.wait()


def make_bucket(address, server):
    request = urllib.request.Request(f"{address}/coresets", method="PUT")
    until = time.monotonic() + 120
    while True:
        assert server.poll() is None
        assert time.monotonic() < until
        try:
            urllib.request.urlopen(request, timeout=60).close()
            return
        except urllib.error.URLError:
            time.sleep(0.1)


def pushed_and_cloned(finished, folder, *remote):
    """A clone of a project whose artifacts are on a remote, and nowhere else."""
    project, clone = shutil.copytree(finished, folder / "project"), folder / "clone"
    command(project, "dvc", "remote", "add", "--default", "store", remote[0])
    for option, value in remote[1:]:
        command(project, "dvc", "remote", "modify", "store", option, value)
    commit(project)
    command(project, "dvc", "push")
    command(folder, "git", "clone", "--quiet", "project", "clone")
    shutil.rmtree(project)
    assert not (clone / RUN).exists()
    return clone


def stages_run(output):
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def assert_the_same_files(finished, clone):
    for path in (finished / RUN).rglob("*.*"):
        assert (clone / path.relative_to(finished)).read_bytes() == path.read_bytes()


def test_coresets_are_pulled_from_a_folder_and_count_as_made(finished, tmp_path):
    clone = pushed_and_cloned(finished, tmp_path, str(tmp_path / "store"))
    assert stages_run(command(clone, "dvc", "repro", "--pull", "train@crest")) == ["fingerprint"]
    assert_the_same_files(finished, clone)


def test_coresets_are_pulled_from_s3_and_reused_without_training(s3, finished, tmp_path):
    clone = pushed_and_cloned(finished, tmp_path, "s3://coresets/project", ("endpointurl", s3))
    output = command(clone, "dvc", "repro", "--pull", "reuse@convnet")
    assert stages_run(output) == ["fingerprint", "reuse@convnet"]
    assert_the_same_files(finished, clone)
    check_trained_on_the_coresets(clone)


def check_trained_on_the_coresets(project):
    """Check that every mini-batch that the other model took is one of the saved ones."""
    coresets = read_table(project / RUN / "coresets.parquet")
    steps = read_table(project / REUSED / "steps.parquet")
    sizes = coresets.group_by("region", "minibatch").len()
    assert len(steps.join(sizes, on=("region", "minibatch"))) == len(steps) == 81
    run = read_json(project / REUSED / "run.json")
    assert run["method"] == "replay"
