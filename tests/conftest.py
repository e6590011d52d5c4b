"""Shared settings, before torch is imported: tiny cases are fastest on one passive thread."""

import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # models come from folders; no test asks the network

# Files whose tests take longest: they come first, so that no process is left alone with them.
LONG = (
    "tests/test_pipeline.py",
    "tests/cluster/",
    "tests/devices/test_distributed.py",
    "tests/test_examples.py",
    "tests/integrations/",
)


def pytest_collection_modifyitems(items):
    """Put the longest files first; the order of others stays."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_runtest_setup(item):
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")


@pytest.fixture(scope="session")
def samples():
    """The folder of real data sets; tests that need it skip where it is absent."""
    beside = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("CREST_TEST_DATA", beside))
    if not (folder / "cifar10").is_dir():
        pytest.skip(f"no real data in {folder}; set CREST_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The paths of a project with the bundled digits prepared; not to be written to."""
    from crest.pipeline.paths import Paths
    from stages import prepare
    from tests.tiny import digits_parameters

    paths = Paths(tmp_path_factory.mktemp("digits"))
    prepare.run(digits_parameters().prepare, paths.prepared)
    return paths


@pytest.fixture(scope="session")
def runs(digits, tmp_path_factory):
    """The paths of a project with every method but replay trained; not to be written to."""
    from stages import train
    from tests.tiny import digits_parameters

    paths = copied(digits, tmp_path_factory.mktemp("runs"))
    for method in ("crest", "random", "full"):
        train.run(digits_parameters(), paths, method)
    return paths


@pytest.fixture
def project(runs, tmp_path):
    """A copy of the runs for one test."""
    return copied(runs, tmp_path)


def copied(paths, root):
    """Copy a project; returns the paths of the copy."""
    shutil.copytree(paths.root, root, dirs_exist_ok=True)
    return type(paths)(root)
