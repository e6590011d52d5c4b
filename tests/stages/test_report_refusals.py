"""What report refuses: runs, evaluations and analyses that are missing, damaged or of others."""

import numpy as np
import pytest

from crest import artifacts
from crest.errors import ArtifactError
from crest.pipeline import manifest
from stages import analyze, report
from tests.stages import synthetic_artifacts as made_up
from tests.stages.synthetic_reports import parameters, write_project


@pytest.fixture
def paths(tmp_path):
    return write_project(tmp_path)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("train/crest", r"cli\.py train --method crest"),
        ("evaluate/crest", r"cli\.py evaluate --method crest"),
        ("analyze", r"cli\.py analyze"),
    ],
)
def test_a_missing_input_names_the_command_and_leaves_the_earlier_report(paths, folder, message):
    report.run(parameters(), paths)
    before = (paths.report / "report.html").read_bytes()
    (paths.root / "artifacts" / folder).rename(paths.root / "moved")
    with pytest.raises(ArtifactError, match=message):
        report.run(parameters(), paths)
    assert (paths.report / "report.html").read_bytes() == before


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": None}, "'accuracy' must be a number"),
        ({"accuracy": True}, "'accuracy' must be a number"),
        ({"loss": "low"}, "'loss' must be a number, it is 'low'"),
    ],
)
def test_damaged_metrics_are_one_message(paths, changes, message):
    path = paths.evaluate("crest") / "metrics.json"
    artifacts.write_json(path, artifacts.read_json(path) | changes)
    with pytest.raises(ArtifactError, match=message):
        report.run(parameters(), paths)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match="damaged JSON"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn")
def test_a_run_or_an_analysis_of_other_data_is_refused(paths):
    for folder in (paths.train("random"), paths.evaluate("crest"), paths.analyze):
        found = manifest.read(folder, "again")
        manifest.seal(folder, found.runs, "other")
        with pytest.raises(ArtifactError, match=f"{folder}: of other data than data/prepared"):
            report.run(parameters(), paths)
        manifest.seal(folder, found.runs, found.data)
    path = paths.analyze / "difficulty.parquet"
    artifacts.write_table(path, artifacts.read_table(path).head(5))
    made_up.sealed_again(paths.analyze)
    with pytest.raises(ArtifactError, match="of 5 examples, prepared are 40"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn_analysis")
def test_a_run_trained_anew_is_never_beside_the_evaluation_of_an_earlier_one(paths):
    manifest.seal(paths.train("crest"), {"crest": "a new run"}, "abc")
    with pytest.raises(
        ArtifactError,
        match=r"evaluate/crest: of another run than .*train/crest holds now; .*evaluate --method",
    ):
        report.run(parameters(), paths)
    manifest.seal(paths.evaluate("crest"), {"crest": "a new run"}, "abc")
    with pytest.raises(
        ArtifactError,
        match=r"artifacts/analyze: of another run than .*train/crest holds now; .*cli\.py analyze",
    ):
        report.run(parameters(), paths)
    analyze.run(parameters(), paths)
    assert len(report.run(parameters(), paths)) == 3


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("train/crest", "metrics.json"),
        ("train/crest", "run.json"),
        ("evaluate/crest", "metrics.json"),
    ],
)
def test_a_file_of_another_method_is_refused(paths, folder, name):
    theirs = paths.root / "artifacts" / folder.replace("crest", "random") / name
    ours = paths.root / "artifacts" / folder / name
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(ArtifactError, match=f"{folder}/{name}: not as it was written"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn")
def test_folders_that_changed_places_are_refused(paths):
    for stage in (paths.train, paths.evaluate):
        crest, random, aside = stage("crest"), stage("random"), paths.root / "aside"
        for old, new in ((crest, aside), (random, crest), (aside, random)):
            old.rename(new)
        with pytest.raises(ArtifactError, match="crest: of random, not of crest; make it"):
            report.run(parameters(), paths)
        for old, new in ((random, aside), (crest, random), (aside, crest)):
            old.rename(new)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("folder", ["train/crest", "evaluate/crest", "analyze"])
def test_results_that_do_not_say_which_run_they_are_of_are_refused(paths, folder):
    (paths.root / "artifacts" / folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"manifest\.json: no such file, .* cli\.py"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["curves", "class_balance", "selected_by_score"])
def test_tables_of_the_analysis_that_were_cut_short_are_refused(paths, name):
    path = paths.analyze / f"{name}.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-3]) + "\n")
    with pytest.raises(ArtifactError, match=rf"{name}\.csv: not as it was written: cut short"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn")
def test_a_reused_model_under_another_name_is_refused(paths):
    made_up.write_reuse(paths, "resnet20")
    paths.reuse("resnet20").rename(paths.reuse("resnet18"))
    with pytest.raises(ArtifactError, match=r"resnet18: holds 'resnet20', not resnet18; .*reuse"):
        report.run(parameters(["resnet18"]), paths)


def test_images_that_are_gone_are_one_message(paths, undrawn):
    (paths.prepared / "train_images.npy").unlink()
    with pytest.raises(ArtifactError, match="train_images"):
        report.run(parameters(), paths)
    np.save(paths.prepared / "train_images.npy", np.zeros((3, 8, 8, 1), np.uint8))
    with pytest.raises(ArtifactError, match="train_images"):
        report.run(parameters(), paths)
