"""What the state of an unfinished run depends on."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from crest.pipeline import provenance
from crest.pipeline.resume import checkpoint_for
from crest.training.state import Checkpoint
from tests import tiny


def checkpoint(folder: Path) -> Checkpoint:
    return checkpoint_for(
        folder / "state", tiny.parameters(), "random", tiny.image_meta(), tiny.FLOAT32, None, int
    )


def test_a_state_is_of_the_versions_that_are_installed(tmp_path: Path) -> None:
    assert checkpoint(tmp_path).settings["transformers version"] == version("transformers")


def test_images_are_trained_on_without_the_extra_of_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(provenance, "version", missing)
    assert checkpoint(tmp_path).settings["transformers version"] == "not installed"
