"""run.launch: what `dvc repro` starts train with."""

import shutil

from crest.artifacts import read_json
from tests.cluster.results import differing
from tests.test_pipeline import changed_stages, command

TORCHRUN = "torchrun --standalone --nproc-per-node=1"


def test_an_experiment_trains_under_torchrun_and_nothing_else_runs_again(project, tmp_path):
    command(project, "dvc", "repro", "evaluate@random")
    before = shutil.copytree(project / "artifacts", tmp_path / "before")
    stages = {"prepare", "train@random", "evaluate@random"}
    assert not stages & changed_stages(project)

    launch = f"run.launch='{TORCHRUN}'"
    output = command(project, "dvc", "exp", "run", "-S", launch, "train@random")
    assert f"> {TORCHRUN} cli.py train --method random" in output
    assert "Stage 'prepare' didn't change, skipping" in output
    run = read_json(project / "artifacts/train/random/run.json")
    assert run["parameters"]["run"]["launch"] == TORCHRUN
    assert not differing(before / "train/random", project / "artifacts/train/random")
    assert stages & changed_stages(project) == {"evaluate@random"}  # run.json is another
