"""Experiments of ten steps on the digits."""

import pytest

from benchmarks.experiments import (
    commands,
)
from benchmarks.experiments.rows import Rows
from tests.benchmarks.short_experiments import (
    SHORT,
)


@pytest.fixture
def bench(tmp_path, digits, monkeypatch):
    """A function that runs an experiment of ten steps on the digits; returns its rows."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    monkeypatch.setattr(commands, "EXPERIMENTS", folder)
    out, keep = tmp_path / "rows.jsonl", tmp_path / "keep"
    places = ["--project", str(digits.root), "--out", str(out), "--keep", str(keep)]

    def run(text, *options, code=0):
        (folder / "short.yaml").write_text(SHORT + text)
        assert commands.main(["run", "short", *places, *options]) == code
        return Rows(out).read()

    run.out, run.keep, run.folder = out, keep, folder
    return run
