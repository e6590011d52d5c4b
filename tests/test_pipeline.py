"""The whole pipeline as DVC runs it: real data, every stage, and only what must run again."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from ruamel.yaml import YAML

from crest import artifacts
from crest.pipeline.paths import Paths
from tests.bad_input import png

REPOSITORY = Path(__file__).parents[1]
METHODS = ("crest", "full")
MODEL = "convnet"
# Looks at what lies outside the pipeline, before every run.
LOOK = {"fingerprint"}
STAGES = LOOK | {
    "prepare",
    *(f"train@{method}" for method in METHODS),
    *(f"evaluate@{method}" for method in METHODS),
    "analyze",
    f"reuse@{MODEL}",
    "report",
}
RUN = {
    "model.safetensors",
    "steps.parquet",
    "validation.parquet",
    "examples.parquet",
    "metrics.json",
    "run.json",
    "manifest.json",
}
OUTPUTS = {
    "data/fingerprint": {"source.json", "train.json", "reuse"},
    "data/prepared": {
        "meta.json",
        *(
            f"{split}_{name}.npy"
            for split in ("train", "validation", "test")
            for name in ("images", "labels")
        ),
        *(f"{split}_sources.parquet" for split in ("train", "validation", "test")),
    },
    "artifacts/train/crest": RUN | {"coresets.parquet", "regions.parquet", "snapshots"},
    "artifacts/train/full": RUN | {"snapshots"},
    **{
        f"artifacts/evaluate/{method}": {"metrics.json", "predictions.parquet", "manifest.json"}
        for method in METHODS
    },
    f"artifacts/reuse/{MODEL}": RUN | {"predictions.parquet"},
    "artifacts/report": {
        "summary.json",
        "summary.csv",
        "seeds.csv",
        "report.html",
        "manifest.json",
    },
}
SHRUNKEN = {
    "run.methods": list(METHODS),
    "train.epochs": 3,
    "train.budget": 0.3,
    "train.validations": 3,
    "train.device": "cpu",
    "train.precision": "float32",
    "reuse.models": [MODEL],
    "crest.interval_factor": 1.0,
}


def environment():
    """The environment of a person who works in the test's folder with this Python."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}


def command(folder, *arguments):
    """Run a program; returns what it says on stdout."""
    done = subprocess.run(
        arguments, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def change(folder, values):
    """Set keys of params.yaml."""
    path, yaml = folder / "params.yaml", YAML()
    document = yaml.load(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        section, name = key.split(".")
        document[section][name] = value
    yaml.dump(document, path)


def changed_stages(folder):
    """The stages that DVC sees a reason to run in what is there now."""
    return set(json.loads(command(folder, "dvc", "status", "--json")))


def run_stages(folder, *targets):
    """Run the pipeline; returns the stages that DVC saw a reason to run."""
    return started(command(folder, "dvc", "repro", *targets))


def started(output):
    """The stages that DVC says it runs."""
    lines = [line for line in output.splitlines() if line.startswith("Running stage")]
    return {line.split("'")[1] for line in lines}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository as a fresh clone has it, its parameters shrunken."""
    folder = tmp_path_factory.mktemp("pipeline")
    listed = command(REPOSITORY, "git", "ls-files", "-co", "--exclude-standard", "-z")
    for name in listed.split("\0"):
        if name and name != "dvc.lock" and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name, follow_symlinks=False)
    command(folder, "git", "init", "--quiet")
    change(folder, SHRUNKEN)
    return folder


def test_the_pipeline_makes_everything_and_then_only_what_must_be_made_again(copy):
    # report depends on this folder, in which there is nothing else where reuse.models is empty.
    assert (copy / "artifacts/reuse").is_dir()
    assert run_stages(copy) == STAGES
    for folder, names in OUTPUTS.items():
        assert {path.name for path in (copy / folder).iterdir()} == names
    check_results(copy)

    assert run_stages(copy) == LOOK

    change(copy, {"train.lr": 0.2})
    trainings = {f"train@{method}" for method in METHODS}
    assert changed_stages(copy) == {*LOOK, *trainings, f"reuse@{MODEL}"}

    change(copy, {"train.lr": 0.1, "report.title": "Another"})
    assert changed_stages(copy) == {*LOOK, "report"}

    change(copy, {"report.title": "CREST report"})


def results_of(project):
    """Leave out, for copytree, what a project has in artifacts and in DVC's cache."""
    left_out = {project: {"artifacts"}, project / ".dvc": {"cache"}}
    return lambda folder, names: left_out.get(Path(folder), set()) & set(names)


def test_what_is_read_of_a_source_runs_prepare_again_and_nothing_else_does(copy, tmp_path):
    """The source lies outside the repository, behind a link."""
    images = tmp_path / "images"
    for number, name in enumerate(("train/ant", "train/bee", "test/ant", "test/bee")):
        (images / name).mkdir(parents=True)
        for place in range(3):
            (images / name / f"{place}.png").write_bytes(png(3 * number + place))
    project, link = tmp_path / "project", tmp_path / "link"
    shutil.copytree(copy, project, ignore=results_of(copy))
    link.symlink_to(images)
    source = {"prepare.dataset": "folder", "prepare.source": str(link), "prepare.validation": 0.0}
    change(project, source)
    assert run_stages(project, "prepare") == {*LOOK, "prepare"}

    for name in (".DS_Store", "train/.DS_Store", "train/bee/.DS_Store", "train/bee/notes.txt"):
        (images / name).write_bytes(b"?")
    assert run_stages(project, "prepare") == LOOK

    (images / "train/ant/2.png").rename(images / "train/bee/4.png")
    assert run_stages(project, "prepare") == {*LOOK, "prepare"}

    images.rename(tmp_path / "away")
    assert run_stages(project, "prepare") == LOOK


def test_a_model_of_the_hub_is_a_stage_of_its_own(copy):
    change(copy, {"reuse.models": [MODEL, "owner/bert"]})
    listed = dict(
        line.split(maxsplit=1) for line in command(copy, "dvc", "stage", "list").splitlines()
    )
    change(copy, {"reuse.models": [MODEL]})
    outputs = {name: text.strip() for name, text in listed.items() if name.startswith("reuse@")}
    assert outputs == {
        f"reuse@{name}": f"Outputs {Paths().reuse(name)}" for name in (MODEL, "owner/bert")
    }


def test_an_experiment_is_compared_with_what_was_committed(copy):
    run_stages(copy)
    commit(copy)
    before = summary(copy)
    output = command(copy, "dvc", "exp", "run", "--name", "strict", "-S", "crest.threshold=0.01")
    of_crest = {"train@crest", "evaluate@crest", f"reuse@{MODEL}"}
    assert started(output) == {*LOOK, *of_crest, "analyze", "report"}
    after = summary(copy)

    report = "artifacts/report/summary.json"
    changed = json.loads(command(copy, "dvc", "metrics", "diff", "--json"))[report]
    updates = changed["methods.crest.updates"]
    assert (updates["old"], updates["new"]) == (before["updates"], after["updates"])
    assert after["updates"] > before["updates"]
    assert {name.split(".")[1] for name in changed} == {"crest", MODEL}

    experiments = pl.read_csv(io.StringIO(command(copy, "dvc", "exp", "show", "--csv")))
    experiment = experiments.filter(pl.col("Experiment") == "strict").to_dicts()[0]
    assert experiment["crest.threshold"] == 0.01
    assert experiment["methods.crest.updates"] == after["updates"]
    assert experiment["methods.crest.accuracy"] == after["accuracy"]

    plots = json.loads(command(copy, "dvc", "plots", "show", "--json"))["data"]
    drawn = plots["accuracy by step"][0]["content"]["data"]["values"]
    curves = pl.read_csv(copy / "artifacts/analyze/curves.csv", infer_schema=False).to_dicts()
    assert [{key: point[key] for key in curves[0]} for point in drawn] == curves
    # What the commands leave in the folder is not offered for a commit.
    assert command(copy, "git", "status", "--short").split() == [
        "M",
        "dvc.lock",
        "M",
        "params.yaml",
    ]


def commit(folder):
    """Commit everything, as a person who starts to experiment does."""
    command(folder, "git", "add", "--all")
    person = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    command(folder, "git", *person, "commit", "--quiet", "--message", "Run")


def summary(folder):
    """What the report says of crest."""
    return artifacts.read_json(folder / "artifacts/report/summary.json")["methods"]["crest"]


def check_results(copy):
    """Check that what the stages left behind fits together."""
    analyzed = {path.name for path in (copy / "artifacts/analyze").iterdir()}
    assert {"difficulty.parquet", "curves.csv", "accuracy_by_step.png"} <= analyzed
    summary = pl.read_csv(copy / "artifacts/report/summary.csv")
    assert summary["method"].to_list() == [*METHODS, "replay"]
    by_method = artifacts.read_json(copy / "artifacts/report/summary.json")["methods"]
    for method in METHODS:
        metrics = artifacts.read_json(copy / f"artifacts/evaluate/{method}/metrics.json")
        predicted = artifacts.read_table(copy / f"artifacts/evaluate/{method}/predictions.parquet")
        assert metrics["accuracy"] == (predicted["label"] == predicted["prediction"]).mean()
        assert by_method[method]["accuracy"] == metrics["accuracy"]
    assert by_method["full"]["steps"] == 122
    assert by_method["crest"]["steps"] == 37
    assert by_method["full"]["accuracy"] > 0.8
    assert not list((copy / "artifacts").rglob("*.partial"))
