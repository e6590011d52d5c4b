"""A small project as a clone has it, committed, for runs of seconds."""

import shutil

import pytest

from tests.test_pipeline import REPOSITORY, change, command, commit

TINY = {
    "run.methods": ["random"],
    "train.epochs": 20,
    "train.budget": 0.2,
    "train.validations": 2,
    "train.snapshots": 2,
    "train.device": "cpu",
    "train.precision": "float32",
    "train.threads": 1,
    "reuse.models": [],
}
# Of a run that is to be stopped on the way, on any number of processes: states and weights to wait
# for. How often states are saved is no part of the result.
STOPPED = {
    "run.methods": ["crest"],
    "train.budget": 0.1,
    "train.snapshots": 4,
    "run.save_interval": 0.0,
    "train.micro_batches": 2,
    "reuse.models": ["convnet"],
}
STATE = ".resume/train-crest.safetensors"
ON_THE_WAY = ".resume/train-crest.snapshots/step_20.safetensors"  # of 81 steps
RUN = "artifacts/train/crest"


@pytest.fixture(scope="session")
def make_project():
    """A function that puts a project into a folder, its parameters changed and committed."""

    def make(folder, changed=None):
        listed = command(REPOSITORY, "git", "ls-files", "-co", "--exclude-standard", "-z")
        for name in listed.split("\0"):
            if name and name != "dvc.lock" and (REPOSITORY / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, folder / name, follow_symlinks=False)
        command(folder, "git", "init", "--quiet", "--initial-branch=main")
        change(folder, TINY | (changed or {}))
        commit(folder)
        return folder

    return make


@pytest.fixture
def project(make_project, tmp_path):
    """A project of its own for one test."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(make_project, tmp_path_factory):
    """A project whose crest run never stopped, committed; not to be written to."""
    folder = make_project(tmp_path_factory.mktemp("cluster") / "finished", STOPPED)
    command(folder, "dvc", "repro", "train@crest")
    commit(folder)
    return folder


@pytest.fixture
def prepared(finished, tmp_path):
    """The same project before its run."""
    folder = shutil.copytree(finished, tmp_path / "prepared")
    shutil.rmtree(folder / RUN)
    return folder
