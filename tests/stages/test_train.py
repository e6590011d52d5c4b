"""train on the bundled digits: everything of the contract is there and agrees."""

import json

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from crest import artifacts
from crest.analysis.runs import analyse
from crest.data.prepared import load
from crest.errors import ArtifactError, ParameterError, TrainingError
from crest.models import ModelSpec
from crest.models.weights import read_spec
from crest.pipeline.inputs import configure_torch
from crest.samplers.saved import from_tables
from stages import analyze, train
from tests.conftest import copied
from tests.tiny import CPU, digits_parameters

FILES = {
    "model.safetensors",
    "steps.parquet",
    "validation.parquet",
    "examples.parquet",
    "manifest.json",
    "metrics.json",
    "run.json",
}
SELECTING = {"coresets.parquet", "regions.parquet"}
STEPS = {"crest": 10, "random": 10, "full": 41}


def names(folder):
    return {path.name for path in folder.iterdir()}


def tables(paths, method):
    folder = paths.train(method)
    return {
        path.stem: artifacts.read_table(path) for path in folder.iterdir() if path.suffix[1] == "p"
    }


def tensors(paths, method):
    return load_file(paths.train(method) / "model.safetensors")


def equal(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize("method", STEPS)
def test_a_run_leaves_every_file_of_the_contract_and_no_other(runs, method):
    expected = FILES | SELECTING if method == "crest" else FILES
    assert names(runs.train(method)) == expected
    assert names(runs.root / "artifacts" / "train") == set(STEPS)


@pytest.mark.parametrize("method", STEPS)
def test_the_metrics_say_what_the_tables_hold(runs, method):
    found, metrics = tables(runs, method), artifacts.read_json(runs.train(method) / "metrics.json")
    steps = found["steps"]
    assert steps["step"].to_list() == list(range(STEPS[method]))
    assert metrics["steps"] == STEPS[method]
    assert metrics["full_steps"] == STEPS["full"]
    assert metrics["budget"] == STEPS[method] / STEPS["full"]
    assert metrics["examples_trained"] == steps["examples"][-1] == 32 * STEPS[method]
    assert (metrics["method"], metrics["model"], metrics["dataset"]) == (
        method,
        "convnet",
        "digits",
    )
    assert metrics["regions"] == len(found.get("regions", ()))
    assert sum(metrics["seconds"].values()) == pytest.approx(metrics["seconds_train"])
    assert steps["seconds"].is_sorted()
    assert steps["seconds"][-1] <= metrics["seconds_train"]


@pytest.mark.parametrize("method", STEPS)
def test_the_curve_has_the_points_asked_for(runs, method):
    validation = tables(runs, method)["validation"]
    assert validation["step"].to_list() == [round(STEPS[method] / 2), STEPS[method]]
    assert validation["accuracy"].is_between(0, 1).all()


@pytest.mark.parametrize("method", STEPS)
def test_every_example_trained_on_is_counted(runs, method):
    examples = tables(runs, method)["examples"]
    trained = examples.filter(pl.col("pass") == "training")
    assert trained["index"].to_list() == list(range(1297))
    assert trained["seen"].sum() == 32 * STEPS[method]
    passes = {"training", "selection"} if method == "crest" else {"training"}
    assert set(examples["pass"]) == passes


def test_the_coresets_are_of_these_data_and_are_what_was_trained_on(runs):
    found = tables(runs, "crest")
    labels = load(runs.prepared, CPU).train.labels
    saved = from_tables(found["coresets"], found["steps"], labels, "here")
    assert len(saved.regions) == len(found["regions"])
    assert [len(region) for region in saved.regions] == found["regions"]["minibatches"].to_list()
    for coreset in (coreset for region in saved.regions for coreset in region):
        assert len(coreset.indices.unique()) == 32
        assert float(coreset.weights.mean()) == pytest.approx(1.0)
    ends = found["regions"]["end_step"].to_list()
    assert found["regions"]["start_step"].to_list() == [0, *ends[:-1]]
    assert ends[-1] == STEPS["crest"]


def test_metrics_end_with_the_last_point_of_the_validation_curve(runs):
    metrics = json.loads((runs.train("crest") / "metrics.json").read_text())
    last = tables(runs, "crest")["validation"].row(-1, named=True)
    assert metrics["validation_accuracy"] == last["accuracy"]
    assert metrics["validation_loss"] == last["loss"]


def test_the_weights_say_which_model_they_are_of(runs):
    spec = ModelSpec("convnet", 10, (8, 8, 1), "cifar")
    assert read_spec(runs.train("crest") / "model.safetensors") == spec
    assert all(value.isfinite().all() for value in tensors(runs, "crest").values())


@pytest.mark.parametrize("method", ["greedy", "craig", "gradmatch", "glister"])
def test_what_any_method_selects_can_be_analysed_and_replayed(digits, tmp_path, method):
    paths = copied(digits, tmp_path)
    metrics = train.run(digits_parameters(), paths, method)
    assert names(paths.train(method)) == FILES | SELECTING
    found = tables(paths, method)
    assert metrics["regions"] == len(found["regions"]) > 1
    assert metrics["examples_scored"] > 0
    assert set(metrics["seconds"]) == {"select", "train"}
    assert found["regions"]["minibatches"].sum() == len(found["steps"]) == 10
    run = analyze.read_run(paths.train(method), method)
    analysis = analyse([run], method, [str(digit) for digit in range(10)])
    assert analysis.difficulty["selected"].sum() == 10 * 32
    train.run(digits_parameters(replay={"coresets": f"artifacts/train/{method}"}), paths, "replay")
    assert equal(tensors(paths, method), tensors(paths, "replay"))


def test_sgd_is_full_training_cut_off_when_the_budget_is_spent(runs, project):
    train.run(digits_parameters(), project, "sgd")
    cut, full = tables(project, "sgd")["steps"], tables(runs, "full")["steps"]
    assert cut.drop("seconds").equals(full.drop("seconds").head(10))


def test_the_horizon_of_full_training_makes_sgd_of_random(project):
    found = []
    for method, horizon in (("sgd", "budget"), ("random", "full"), ("random", "budget")):
        train.run(digits_parameters(train={"horizon": horizon}), project, method)
        found.append(tables(project, method)["steps"].drop("seconds"))
    assert found[0].equals(found[1])
    assert not found[0].equals(found[2])


def test_the_same_seed_gives_the_same_run_and_another_another(runs, project):
    earlier = tensors(project, "crest"), tables(project, "crest")
    train.run(digits_parameters(), project, "crest")
    assert equal(earlier[0], tensors(project, "crest"))
    assert earlier[1]["coresets"].equals(tables(project, "crest")["coresets"])
    train.run(digits_parameters(train={"seed": 1}), project, "crest")
    assert not equal(earlier[0], tensors(project, "crest"))


def test_activation_checkpointing_changes_nothing_of_a_run(digits, tmp_path):
    kept, checkpointed = (copied(digits, tmp_path / name) for name in ("kept", "checkpointed"))
    for paths, wanted in ((kept, False), (checkpointed, True)):
        sections = {"model": "resnet20", "budget": 0.1, "activation_checkpointing": wanted}
        train.run(digits_parameters(train=sections), paths, "crest")
    for name in ("steps", "coresets", "examples"):
        expected, found = (
            tables(paths, "crest")[name].drop("seconds", strict=False)
            for paths in (kept, checkpointed)
        )
        assert found.equals(expected, null_equal=True)
    assert equal(tensors(checkpointed, "crest"), tensors(kept, "crest"))


def test_replaying_a_run_gives_its_weights_bit_for_bit(project):
    metrics = train.run(digits_parameters(), project, "replay")
    assert names(project.train("replay")) == FILES
    assert equal(tensors(project, "replay"), tensors(project, "crest"))
    replayed, original = tables(project, "replay"), tables(project, "crest")
    assert replayed["steps"].drop("seconds").equals(original["steps"].drop("seconds"))
    assert metrics["method"] == "replay"
    assert metrics["regions"] == 0


def test_snapshots_are_kept_where_asked_for_and_the_last_is_the_model(project):
    train.run(digits_parameters(train={"snapshots": 2}), project, "random")
    folder = project.train("random")
    assert names(folder) == FILES | {"snapshots"}
    assert names(folder / "snapshots") == {"step_5.safetensors", "step_10.safetensors"}
    last = load_file(folder / "snapshots" / "step_10.safetensors")
    assert equal(last, tensors(project, "random"))
    assert not equal(last, load_file(folder / "snapshots" / "step_5.safetensors"))
    assert names(project.root / ".resume") == set()


def test_coresets_alone_can_be_replayed(project):
    source = "artifacts/train/crest/coresets.parquet"
    metrics = train.run(digits_parameters(replay={"coresets": source}), project, "replay")
    assert metrics["steps"] == STEPS["crest"]
    assert not equal(tensors(project, "replay"), tensors(project, "crest"))


def test_without_a_validation_split_there_is_no_curve(tmp_path):
    from crest.pipeline.paths import Paths
    from stages import prepare

    paths, parameters = Paths(tmp_path), digits_parameters(prepare={"validation": 0.0})
    prepare.run(parameters.prepare, paths.prepared)
    train.run(parameters, paths, "random")
    assert tables(paths, "random")["validation"].is_empty()


@pytest.mark.parametrize(
    ("method", "sections", "error", "expected"),
    [
        ("crst", {}, ParameterError, r"run\.methods: 'crst' is not one of full, random, crest"),
        ("crest", {"train": {"lr": 1e30}}, TrainingError, r"training loss became (nan|inf)"),
        ("crest", {"crest": {"subset_size": 2000}}, ParameterError, r"crest\.subset_size: 2000"),
        ("crest", {"crest": {"proxy": "pixels"}}, ParameterError, r"crest\.proxy: 'pixels' is"),
        ("crest", {"train": {"batch_size": 1298}}, ParameterError, r"train\.batch_size"),
        ("crest", {"train": {"model": "resnet19"}}, ParameterError, r"train\.model: .*'resnet19'"),
        (
            "crest",
            {"train": {"activation_checkpointing": True}},
            ParameterError,
            r"train\.activation_checkpointing: ConvNet has no blocks",
        ),
        ("replay", {"replay": {"coresets": "no"}}, ArtifactError, r"no: no such file"),
        (
            "replay",
            {"replay": {"coresets": "artifacts/train/full"}},
            ArtifactError,
            r"full/coresets\.parquet: no such file",
        ),
    ],
)
def test_a_run_that_fails_leaves_the_earlier_ones(project, method, sections, error, expected):
    before = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    with pytest.raises(error, match=expected):
        train.run(digits_parameters(**sections), project, method)
    after = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    assert after == before


def test_training_needs_prepared_data(tmp_path):
    with pytest.raises(ArtifactError, match=r"meta\.json: no prepared data here; run"):
        train.run(digits_parameters(), train.Paths(tmp_path), "random")
    assert names(tmp_path) == set()


def test_a_place_that_cannot_be_written_is_found_before_training(project, monkeypatch):
    place = project.train("replay")
    place.write_text("mine")
    monkeypatch.setattr(train, "train_model", lambda *_: pytest.fail("it has trained"))
    with pytest.raises(ArtifactError, match="replay: a file where a folder is to be"):
        train.run(digits_parameters(), project, "replay")
    assert place.read_text() == "mine"


def test_a_gpu_adds_in_one_order(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    configure_torch(digits_parameters())
    assert torch.backends.cudnn.deterministic


def test_a_model_without_second_derivatives_is_trained_and_the_results_say_how(
    project, monkeypatch
):
    """As with crest.quadratic.parameters: last_layer, which what is recorded beside would give."""
    from crest import models

    def with_hardsigmoid(classes, image_shape, stem):
        width = image_shape[0] * image_shape[1]
        layers = torch.nn.Flatten(), torch.nn.Linear(width, 8), torch.nn.Hardsigmoid()
        return torch.nn.Sequential(*layers, torch.nn.Linear(8, classes))

    monkeypatch.setattr(models, "MODELS", {**models.MODELS, "hard": with_hardsigmoid})
    settings = {"model": "hard", "budget": 0.1, "validations": 1}
    found = {}
    for quadratic in ("full", "last_layer"):
        parameters = digits_parameters(train=settings, crest={"quadratic": quadratic})
        metrics = train.run(parameters, project, "crest", fresh=True)
        run = artifacts.read_json(project.train("crest") / artifacts.RUN)
        fell_back = quadratic == "full"
        used = {"crest.quadratic.parameters": "last_layer"} if fell_back else {}
        assert run["used"] == used
        assert run["parameters"]["crest"]["quadratic"]["parameters"] == quadratic
        assert ("crest.quadratic.parameters" in metrics) == fell_back
        found[quadratic] = tensors(project, "crest")
    assert equal(found["full"], found["last_layer"])
