"""embed, and a head that is trained on what it wrote, by an earlier run on the digits."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from crest import artifacts, models
from crest.data.origins import with_sources
from crest.data.prepared import load
from crest.errors import ArtifactError, ParameterError
from crest.models import weights
from crest.models.grafting import head_keys
from crest.models.head import features_and_logits
from crest.pipeline import embeddings, runs
from stages import embed, evaluate, train
from tests.conftest import copied
from tests.tiny import CPU, digits_parameters

HEAD = head_keys(models.build("convnet", classes=10, image_shape=(8, 8, 1), stem="cifar", seed=0))
FILES = {"embedded.parquet", "embeddings.json", "train.npy", "validation.npy", "test.npy"}


@pytest.fixture(scope="module")
def earlier(runs):
    """The model that the backbone is of."""
    return runs.train("full") / "model.safetensors"


def parameters(earlier, **changes):
    sections = {"embed": changes.pop("embed", {}), "crest": {"subset_size": 64}}
    return digits_parameters(
        train={"weights": str(earlier), "augment_crop": 0, **changes}, **sections
    )


@pytest.fixture(scope="module")
def embedded(digits, earlier, tmp_path_factory):
    """A project with its embeddings, and what was counted; not to be written to."""
    paths = copied(digits, tmp_path_factory.mktemp("embedded"))
    return paths, embed.run(parameters(earlier), paths)


def test_embeddings_are_the_last_layers_inputs(embedded, earlier):
    paths, _ = embedded
    folder = paths.embed("convnet")
    assert {path.name for path in folder.iterdir()} == FILES
    model, _ = weights.load_model(earlier)
    data = load(paths.prepared, CPU)
    for name, split in embeddings.splits_of(data).items():
        found = np.load(folder / f"{name}.npy")
        with torch.no_grad():
            expected, _ = features_and_logits(model.eval(), split.inputs(torch.arange(len(split))))
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3, atol=1e-4)


def test_the_table_has_a_row_for_each_example_and_is_what_was_counted(embedded):
    paths, counts = embedded
    table = artifacts.read_table(paths.embed("convnet") / "embedded.parquet")
    sizes = {"train": 1297, "validation": 145, "test": 355}
    assert dict(table["split"].value_counts().iter_rows()) == sizes
    train_rows = table.filter(pl.col("split") == "train")
    assert counts["examples"] == len(train_rows)
    assert counts["outliers"] == train_rows["outlier"].sum()
    assert counts["suspected_labels"] == (train_rows["wrong_label"] > 0.5).sum()
    assert counts["duplicates"] == (train_rows["duplicate_of"] >= 0).sum()
    for (split,), rows in table.group_by("split"):
        places = with_sources(rows.select("index"), paths.prepared, split)
        assert rows.select("index", "file", "row").equals(places)
    labels = load(paths.prepared, CPU).train.labels.numpy()
    assert train_rows["label"].to_list() == labels.tolist()
    assert train_rows["agreement"].mean() > 0.8  # a trained network's neighbours are of one class
    assert table.filter(pl.col("split") == "test")["wrong_label"].null_count() == sizes["test"]


def test_another_threshold_takes_the_same_arrays(embedded, earlier, tmp_path, monkeypatch):
    paths = copied(embedded[0], tmp_path)
    monkeypatch.setattr(embeddings, "write_array", None)
    again = embed.run(parameters(earlier, embed={"duplicate": 0.5}), paths)
    assert again["duplicates"] > embedded[1]["duplicates"]


def test_other_weights_or_types_are_embedded_anew(embedded, earlier, tmp_path):
    paths = copied(embedded[0], tmp_path)
    before = embeddings.read_described(paths.embed("convnet"))
    embed.run(parameters(earlier, embed={"dtype": "float32"}), paths)
    after = embeddings.read_described(paths.embed("convnet"))
    assert (before.dtype, after.dtype) == ("float16", "float32")
    assert before.backbone == after.backbone
    assert np.load(paths.embed("convnet") / "train.npy").dtype == np.float32


def test_a_model_without_weights_embeds_nothing(embedded, earlier):
    with pytest.raises(ParameterError, match="convnet would start from random weights"):
        embed.run(digits_parameters(), embedded[0])


def tensors(paths, method="random"):
    return weights.load_model(paths.train(method) / "model.safetensors")[0].state_dict()


@pytest.mark.parametrize("method", ["random", "crest", "adaptive"])
def test_a_head_is_trained_the_same_whoever_embedded(embedded, earlier, tmp_path, method):
    """On the artifact and without it; the backbone stays."""
    settings = parameters(earlier, freeze="backbone", lr=0.01)
    first = copied(embedded[0], tmp_path / "first")
    second = copied(embedded[0], tmp_path / "second")
    for path in second.embed("convnet").iterdir():
        path.unlink()
    metrics = [train.run(settings, paths, method) for paths in (first, second)]
    assert metrics[0]["run"] == metrics[1]["run"]
    assert metrics[0]["flop_embedding"] == 0 < metrics[1]["flop_embedding"]
    assert method == "crest" or "examples_scored" not in metrics[1]
    old = weights.load_model(earlier)[0].state_dict()
    for key, value in tensors(first, method).items():
        if key in HEAD:
            assert not torch.equal(value, old[key])
        else:
            assert torch.equal(value, old[key])
    accuracy = evaluate.run(settings, first, method)["accuracy"]
    assert accuracy > 0.5


@pytest.mark.parametrize(("changes", "scored"), [({}, 1297), ({"weights": None}, None)])
def test_label_noise_is_looked_for_by_what_the_weights_know(
    embedded, earlier, tmp_path, changes, scored
):
    paths = copied(embedded[0], tmp_path)
    settings = parameters(earlier, epochs=3, budget=1.0, **changes)
    metrics = train.run(settings, paths, "adaptive")
    assert metrics.get("examples_scored") == scored
    assert bool(metrics["flop_select"]) == bool(scored)


def test_a_head_on_embeddings_is_the_head_of_the_whole_model(
    embedded, earlier, tmp_path, monkeypatch
):
    settings = parameters(earlier, freeze="backbone", lr=0.01)
    first, second = (copied(embedded[0], tmp_path / name) for name in ("first", "second"))
    train.run(settings, first, "random")
    monkeypatch.setattr(runs, "trains_on_features", lambda *_: False)
    assert "flop_embedding" not in train.run(settings, second, "random")
    for key in HEAD:
        found, expected = tensors(first)[key], tensors(second)[key]
        torch.testing.assert_close(found, expected, rtol=0.01, atol=0.002)


@pytest.mark.parametrize("key", [{"augment_crop": 1}, {"mixup": 0.4}])
def test_what_is_augmented_or_mixed_goes_through_the_backbone_each_time(
    embedded, earlier, tmp_path, key
):
    paths = copied(embedded[0], tmp_path)
    settings = parameters(earlier, freeze="backbone", lr=0.01, **key)
    assert "flop_embedding" not in train.run(settings, paths, "random")
    old = weights.load_model(earlier)[0].state_dict()
    still = {key for key, value in tensors(paths).items() if torch.equal(value, old[key])}
    assert still == old.keys() - HEAD  # running statistics too


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def test_an_array_with_another_bit_is_refused_and_made_again(embedded, earlier, tmp_path):
    paths = copied(embedded[0], tmp_path)
    array = paths.embed("convnet") / "train.npy"
    before = array.read_bytes()
    flip_a_bit(array)
    settings = parameters(earlier, freeze="backbone")
    with pytest.raises(ArtifactError, match=r"train\.npy: other than .*run embed again"):
        train.run(settings, paths, "random")
    embed.run(parameters(earlier), paths)
    assert array.read_bytes() == before


def test_what_is_beyond_float16_is_refused_with_what_helps(monkeypatch):
    found = SimpleNamespace(features=torch.tensor([[1.0], [1e6]]))
    monkeypatch.setattr(
        embeddings, "Evaluator", lambda *_: SimpleNamespace(score=lambda indices: found)
    )
    with pytest.raises(ArtifactError, match=r"example 1 is not finite in float16; take another"):
        list(embeddings.blocks(None, [0, 0], None, "float16", "take another"))


def test_a_damaged_array_is_named(embedded, earlier, tmp_path):
    paths = copied(embedded[0], tmp_path)
    array = paths.embed("convnet") / "train.npy"
    array.write_bytes(array.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match=r"train\.npy: .*run embed again"):
        train.run(parameters(earlier, freeze="backbone"), paths, "random")
