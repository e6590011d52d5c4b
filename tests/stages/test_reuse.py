"""reuse: another model on the coresets that a first one chose."""

import polars as pl
import pytest

from crest import artifacts
from crest.errors import ArtifactError, ParameterError
from crest.models.weights import read_spec
from crest.pipeline.paths import Paths
from stages import prepare, reuse
from tests.tiny import digits_parameters


def trained_on(paths, steps, coresets):
    """Whether every step took one of the mini-batches."""
    return steps.join(coresets, on=["region", "minibatch"], how="anti").is_empty()


def test_another_model_is_trained_on_the_saved_minibatches(project, caplog):
    metrics = reuse.run(digits_parameters(), project, "resnet20")
    folder = project.reuse("resnet20")
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "steps.parquet",
        "validation.parquet",
        "examples.parquet",
        "predictions.parquet",
        "metrics.json",
        "run.json",
        "manifest.json",
    }
    assert artifacts.read_json(folder / "metrics.json") == metrics
    assert read_spec(folder / "model.safetensors").name == "resnet20"
    steps = artifacts.read_table(folder / "steps.parquet")
    original = artifacts.read_table(project.train("crest") / "steps.parquet")
    taken = ["step", "region", "minibatch", "examples"]
    assert steps.select(taken).equals(original.select(taken))
    assert not steps["loss"].equals(original["loss"])
    assert not caplog.messages


def test_its_metrics_are_a_trainings_and_an_evaluations(project):
    metrics = reuse.run(digits_parameters(), project, "convnet")
    predicted = artifacts.read_table(project.reuse("convnet") / "predictions.parquet")
    assert metrics["accuracy"] == (predicted["label"] == predicted["prediction"]).mean()
    assert metrics["loss"] == pytest.approx(predicted["loss"].cast(float).mean())
    assert (metrics["method"], metrics["model"], metrics["steps"]) == ("replay", "convnet", 10)
    assert metrics["examples_trained"] == 320


def test_coresets_alone_will_do(project):
    source = project.train("crest") / "coresets.parquet"
    reuse.run(digits_parameters(), project, "convnet", source)
    steps = artifacts.read_table(project.reuse("convnet") / "steps.parquet")
    assert trained_on(project, steps, artifacts.read_table(source))


def test_another_batch_size_is_kept_to_and_said(project, caplog):
    reuse.run(digits_parameters(train={"batch_size": 64}), project, "convnet")
    assert caplog.messages == [
        f"{project.train('crest') / 'coresets.parquet'}: its mini-batches hold 32 examples, "
        "train.batch_size is 64: each step takes so many of its region's"
    ]
    steps = artifacts.read_table(project.reuse("convnet") / "steps.parquet")
    assert steps["examples"].to_list() == [64 * step for step in range(1, 6)]
    assert set(steps["minibatch"]) == {-1}
    chosen = artifacts.read_table(project.train("crest") / "coresets.parquet")["index"]
    examples = artifacts.read_table(project.reuse("convnet") / "examples.parquet")
    assert set(examples.filter(pl.col("seen") > 0)["index"]) <= set(chosen)


def test_the_run_says_which_model_and_which_coresets(project):
    reuse.run(digits_parameters(), project, "convnet")
    by_default = artifacts.read_json(project.reuse("convnet") / "run.json")
    source = project.train("crest") / "coresets.parquet"
    reuse.run(digits_parameters(train={"model": "resnet20"}), project, "convnet", source)
    named = artifacts.read_json(project.reuse("convnet") / "run.json")
    assert by_default["parameters"]["reuse"]["coresets"].endswith("artifacts/train/crest")
    assert named["parameters"]["reuse"]["coresets"] == str(source)
    assert named["parameters"]["train"]["model"] == named["model"] == "convnet"


def test_coresets_of_other_data_are_refused_and_the_earlier_result_stays(project, tmp_path):
    earlier = reuse.run(digits_parameters(), project, "convnet")
    prepare.run(digits_parameters(prepare={"seed": 7}).prepare, project.prepared)
    with pytest.raises(ArtifactError, match="these coresets were chosen from other data"):
        reuse.run(digits_parameters(), project, "convnet")
    assert artifacts.read_json(project.reuse("convnet") / "metrics.json") == earlier
    assert [path.name for path in project.reuse("convnet").parent.iterdir()] == ["convnet"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (pl.col("index") + 5000, "index .* is outside the 1297 training examples"),
        (-pl.col("weight"), "weight .* is not a number from 0 up"),
        (pl.col("region") + 1, "region 0 is missing"),
    ],
)
def test_coresets_that_make_no_sense_are_refused(project, tmp_path, change, expected):
    coresets = artifacts.read_table(project.train("crest") / "coresets.parquet")
    path = tmp_path / "changed.parquet"
    artifacts.write_table(path, coresets.with_columns(change), "coresets")
    with pytest.raises(ArtifactError, match=rf"changed\.parquet: .*{expected}"):
        reuse.run(digits_parameters(), project, "convnet", path)


def test_an_unknown_model_is_a_bad_parameter_and_leaves_nothing(project):
    with pytest.raises(ParameterError, match=r"train\.model: .*'resnet19'"):
        reuse.run(digits_parameters(), project, "resnet19")
    assert not list(project.root.glob("artifacts/reuse/*"))


def test_without_coresets_it_says_who_writes_them(digits):
    with pytest.raises(ArtifactError, match="crest: no such file; it is written by"):
        reuse.run(digits_parameters(), Paths(digits.root), "convnet")
