"""A machine that is taken away: killed, told to end, and replaced."""

import os
import re
import shutil
import signal
import subprocess

import polars as pl
import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.cluster.conftest import ON_THE_WAY, RUN, STATE, STOPPED
from tests.cluster.results import differing
from tests.cluster.waiting import wait_for
from tests.test_pipeline import REPOSITORY, command, commit, environment


class Machine:
    """Runs the script, which lies outside of the project's folder, as at a machine's start."""

    def __init__(self, script, repository, folder):
        self._command = ["bash", script, repository, "run", folder, "train@crest"]
        self._log = folder.with_suffix(".log")
        self._script = None

    def start(self):
        """Start the machine; returns the script's process."""
        with self._log.open("a") as log:
            self._script = subprocess.Popen(
                self._command, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        return self._script

    def kill(self):
        """Cut the power."""
        if self._script is None or self._script.poll() is not None:
            return
        for process in psutil.Process(self._script.pid).children(recursive=True):
            process.kill()
        self._script.kill()
        self._script.wait()

    @property
    def log(self):
        """What the script has said."""
        return self._log.read_text(encoding="utf-8")


@pytest.fixture
def repository(make_project, tmp_path):
    """Where the project is cloned from; nothing was run yet, and the remote is empty."""
    folder = make_project(tmp_path / "mine", STOPPED)
    command(folder, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    commit(folder)
    command(tmp_path, "git", "clone", "--quiet", "--bare", str(folder), "project.git")
    return tmp_path / "project.git"


@pytest.fixture
def machine(repository, tmp_path):
    """A function that makes a machine with a disk of its own."""
    made = []

    def make(name):
        made.append(Machine(REPOSITORY / "cluster/preempted.sh", repository, tmp_path / name))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def test_a_machine_killed_told_to_end_and_replaced_ends_as_if_it_had_never_been(
    machine, repository, finished, tmp_path
):
    # Killed, it goes on from what is on its disk.
    first, disk = machine("first"), tmp_path / "first"
    job = first.start()
    wait_for((disk / STATE).exists, job)
    first.kill()
    # As after a restart, where the numbers of the processes from before are others' now.
    locked = disk / ".dvc/tmp/rwlock"
    text, count = re.subn(r'"pid": \d+', f'"pid": {os.getpid()}', locked.read_text())
    assert count
    locked.write_text(text)
    job = first.start()
    wait_for((disk / ON_THE_WAY).exists, job)
    # Told to end, it pushes the state. Another machine, which has nothing, goes on from there.
    job.send_signal(signal.SIGTERM)
    assert job.wait(120) == 143, first.log
    steps = int(re.search(r"stopped after (\d+) steps", first.log)[1])
    assert 20 <= steps < 81
    kept = load_file(disk / STATE).values()
    assert files(repository) >= {".resume.dvc", "dvc.lock"}
    shutil.rmtree(disk)

    second, disk = machine("second"), tmp_path / "second"
    assert second.start().wait(120) == 0, second.log
    assert "Running stage 'prepare'" not in second.log
    assert not differing(finished / RUN, disk / RUN)
    table = pl.read_parquet(disk / RUN / "steps.parquet")
    seconds = torch.tensor(table["seconds"].head(steps).to_list(), dtype=torch.float64)
    assert any(torch.equal(seconds, tensor) for tensor in kept)

    # What was finished is pushed, and no state is left.
    assert ".resume.dvc" not in files(repository)
    command(tmp_path, "git", "clone", "--quiet", "--branch", "run", str(repository), "mine/clone")
    command(tmp_path / "mine/clone", "dvc", "pull", "--quiet", "train@crest")
    assert not differing(finished / RUN, tmp_path / "mine/clone" / RUN)


def files(repository):
    return set(command(repository, "git", "ls-tree", "-r", "--name-only", "run").split())
