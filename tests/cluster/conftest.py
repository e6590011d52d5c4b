"""A small project as a clone has it, committed, for runs of seconds."""

import shutil

import pytest

from tests.test_pipeline import REPOSITORY, change, command, commit

TINY = {
    "train.methods": ["random"],
    "train.epochs": 20,
    "train.budget": 0.2,
    "train.validations": 2,
    "train.snapshots": 2,
    "train.device": "cpu",
    "train.precision": "float32",
    "train.threads": 1,
    "reuse.models": [],
}


@pytest.fixture
def make_project():
    """A function that puts a project into a folder, its parameters changed and committed."""

    def make(folder, **changed):
        listed = command(REPOSITORY, "git", "ls-files", "-co", "--exclude-standard", "-z")
        for name in listed.split("\0"):
            if name and name != "dvc.lock" and (REPOSITORY / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, folder / name)
        command(folder, "git", "init", "--quiet", "--initial-branch=main")
        change(folder, TINY | changed)
        commit(folder)
        return folder

    return make


@pytest.fixture
def project(make_project, tmp_path):
    """A project of its own for one test."""
    return make_project(tmp_path / "project")
