"""select: one region's coresets for a model that is not trained on."""

import pytest
import torch
from torch.nn import functional as F

from crest import artifacts
from crest.data.prepared import load
from crest.errors import ArtifactError, ParameterError
from crest.models import ModelSpec, build, weights
from crest.samplers.saved import from_tables
from stages import select
from tests.tiny import CPU, digits_parameters


def selected(paths, out=None, minibatches=None, **sections):
    checkpoint = paths.train("random") / "model.safetensors"
    return select.run(digits_parameters(**sections), paths, checkpoint, out, minibatches)


def test_the_file_holds_coresets_that_can_be_trained_on(runs, tmp_path):
    out = tmp_path / "deep" / "mine.parquet"
    table = selected(runs, out, minibatches=3)
    assert artifacts.read_table(out, "coresets").equals(table)
    saved = from_tables(table, None, load(runs.prepared, CPU).train.labels, "here")
    assert [len(region) for region in saved.regions] == [3]
    for coreset in saved.regions[0]:
        assert len(coreset.indices.unique()) == 32
        assert float(coreset.weights.mean()) == pytest.approx(1.0)
    assert table["position"].to_list() == list(range(32)) * 3


def test_the_losses_are_the_models(runs):
    table = selected(runs, minibatches=1)
    data = load(runs.prepared, CPU).train
    indices = torch.tensor(table["index"].to_list())
    model, _ = weights.load_model(runs.train("random") / "model.safetensors")
    with torch.no_grad():
        logits = model.eval()(data.inputs(indices))
    losses = F.cross_entropy(logits, data.labels[indices], reduction="none")
    assert table["loss"].to_list() == pytest.approx(losses.tolist(), rel=1e-4, abs=1e-6)


def test_there_are_as_many_as_a_first_region_has(runs):
    assert selected(runs)["minibatch"].n_unique() == 2
    crest = {"minibatch_factor": 4.0}
    assert selected(runs, crest=crest)["minibatch"].n_unique() == 4


def test_the_same_seed_selects_the_same_and_another_another(runs):
    assert selected(runs).equals(selected(runs))
    assert not selected(runs).equals(selected(runs, train={"seed": 1}))


def test_the_proxy_makes_a_difference(runs):
    assert not selected(runs).equals(selected(runs, crest={"proxy": "last_input"}))


def test_without_a_file_nothing_is_written(project):
    before = sorted(project.root.rglob("*"))
    selected(project)
    assert sorted(project.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"crest": {"subset_size": 31}}, r"crest\.subset_size: 31 .* less than train\.batch_size"),
        ({"crest": {"subset_size": 1298}}, r"crest\.subset_size: 1298 .* make it smaller"),
        ({"crest": {"proxy": "pixels"}}, r"crest\.proxy: 'pixels' is not one of logits"),
    ],
)
def test_parameters_that_do_not_fit_leave_the_earlier_file(runs, tmp_path, sections, expected):
    out = tmp_path / "mine.parquet"
    earlier = selected(runs, out)
    with pytest.raises(ParameterError, match=expected):
        selected(runs, out, **sections)
    assert artifacts.read_table(out, "coresets").equals(earlier)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("classes", "shape", "expected"),
    [
        (3, (8, 8, 1), r"a model of 3 classes and images \[8, 8, 1\]; the prepared data have 10"),
        (10, (8, 8, 3), r"a model of 10 classes and images \[8, 8, 3\]; the prepared data have"),
    ],
)
def test_a_model_of_other_data_is_refused(runs, tmp_path, classes, shape, expected):
    checkpoint = tmp_path / "model.safetensors"
    model = build("convnet", classes=classes, image_shape=shape, stem="cifar", seed=0)
    weights.save(model, ModelSpec("convnet", classes, shape), checkpoint)
    with pytest.raises(ArtifactError, match=expected):
        select.run(digits_parameters(), runs, checkpoint, None, None)


def test_what_is_no_model_is_refused(runs):
    for checkpoint in (runs.train("random"), runs.train("random") / "steps.parquet"):
        with pytest.raises(ArtifactError, match=str(checkpoint)):
            select.run(digits_parameters(), runs, checkpoint, None, None)


@pytest.mark.parametrize("name", ["coresets.parquet", "model.safetensors"])
def test_a_file_of_a_run_is_not_written_over(runs, name):
    kept = runs.train("crest") / name
    before = kept.read_bytes()
    with pytest.raises(ParameterError, match=f"--out {kept}: belongs to .*name a file in another"):
        selected(runs, kept)
    assert kept.read_bytes() == before


def test_a_file_that_holds_no_coresets_is_not_written_over(runs, tmp_path):
    notes = tmp_path / "params.yaml"
    notes.write_text("train: {}")
    with pytest.raises(ParameterError, match=f"--out {notes}: is there and no Parquet file"):
        selected(runs, notes)
    assert notes.read_text() == "train: {}"
