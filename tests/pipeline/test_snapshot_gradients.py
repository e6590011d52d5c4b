"""What snapshots of real runs on digits show, in the tables of analyze."""

import logging

import polars as pl
import pytest

from crest import artifacts
from crest.errors import ArtifactError
from crest.pipeline.analysis_files import read_analysis
from stages import analyze, train
from tests.conftest import copied
from tests.stages.synthetic_artifacts import sealed_again
from tests.tiny import digits_parameters


def parameters():
    return digits_parameters(
        train={"snapshots": 2, "epochs": 4},
        run={"methods": ["crest", "random"]},
        crest={"learned_window": 5, "learned_loss": 2.0},
        analyze={"scores_from": "crest", "gradient_sample": 200, "gradient_draws": 3},
    )


@pytest.fixture(scope="module")
def kept(digits, tmp_path_factory):
    """The paths of two runs that kept snapshots, analyzed; not to be written to."""
    paths = copied(digits, tmp_path_factory.mktemp("kept"))
    for method in ("crest", "random"):
        train.run(parameters(), paths, method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyze, "gallery", lambda *_: [])
        analyze.run(parameters(), paths)
    return paths


def test_gradients_are_measured_at_every_snapshot_of_crest(kept):
    errors = read_analysis(kept.analyze).gradient_errors
    assert errors["method"].unique().to_list() == ["crest"]
    assert errors["step"].unique(maintain_order=True).to_list() == [20, 40]
    assert errors["group"].n_unique() == 4
    assert errors.filter(pl.col("group") == "random subset")["examples"].to_list() == [64, 64]
    assert (errors["variance"] > 0).all()
    assert (errors["gradient_norm"] > 0).all()
    assert (errors["error"] >= errors["bias"] * 0.999).all()


def test_a_union_is_of_the_region_that_the_last_step_was_in(kept):
    errors = read_analysis(kept.analyze).gradient_errors
    regions = artifacts.read_table(kept.train("crest") / artifacts.REGIONS)
    for step in (20, 40):
        holding = pl.col("start_step").le(step - 1) & pl.col("end_step").gt(step - 1)
        minibatches = regions.filter(holding)["minibatches"].item()
        row = errors.filter(pl.col("step") == step, pl.col("group") == "union of a region's")
        assert row["examples"].item() == 32 * minibatches


def test_dropped_are_those_that_were_excluded_by_then(kept):
    accuracy = read_analysis(kept.analyze).dropped_accuracy
    examples = artifacts.read_table(kept.train("crest") / artifacts.EXAMPLES)
    excluded = examples.filter(pl.col("pass") == "selection")["excluded_at"].to_list()
    for step in (20, 40):
        gone = sum(0 <= at < step for at in excluded)
        rows = accuracy.filter(pl.col("step") == step)
        assert rows["examples"].sum() == len(excluded)
        assert rows.filter(pl.col("group") == "dropped")["examples"].sum() == gone
    assert accuracy["accuracy"].is_between(0, 1).all()
    assert "dropped" in accuracy["group"]


def test_analyzing_again_gives_the_same(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(analyze, "gallery", lambda *_: [])
    paths = copied(kept, tmp_path)
    analyze.run(parameters(), paths)
    for name in ("gradient_errors.csv", "dropped_accuracy.csv"):
        assert (paths.analyze / name).read_bytes() == (kept.analyze / name).read_bytes()


def test_without_snapshots_a_message_says_what_to_set(project, monkeypatch, caplog):
    monkeypatch.setattr(analyze, "gallery", lambda *_: [])
    with caplog.at_level(logging.WARNING):
        analyze.run(parameters(), project)
    assert "crest kept no snapshots" in caplog.text
    assert "train.snapshots" in caplog.text
    analysis = read_analysis(project.analyze)
    assert analysis.gradient_errors.is_empty()
    assert analysis.dropped_accuracy.is_empty()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"content_hash": "other"}}, r"trained on other data than data/prepared"),
        ({"parameters": {"train": {"old": 1}}}, r"train\.old: unknown key.*train it again"),
    ],
)
def test_a_run_that_is_not_of_this_project_is_refused(kept, tmp_path, change, message):
    paths = copied(kept, tmp_path)
    path = paths.train("crest") / artifacts.RUN
    artifacts.write_json(path, artifacts.read_json(path) | change)
    sealed_again(path.parent)
    before = (paths.analyze / "curves.csv").read_bytes()
    with pytest.raises(ArtifactError, match=message):
        analyze.run(parameters(), paths)
    assert (paths.analyze / "curves.csv").read_bytes() == before


def test_a_damaged_snapshot_is_refused(kept, tmp_path):
    paths = copied(kept, tmp_path)
    path = paths.train("crest") / "snapshots" / "step_20.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"step_20\.safetensors: not as it was written"):
        analyze.run(parameters(), paths)
    sealed_again(path.parent.parent)
    with pytest.raises(ArtifactError, match=r"step_20\.safetensors: not a safetensors file"):
        analyze.run(parameters(), paths)
