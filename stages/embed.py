"""embed: what a pretrained backbone makes of every example, and what that says of them."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from crest import artifacts
from crest.analysis import neighbours as near
from crest.config import Parameters
from crest.data.features import FeatureSplit
from crest.data.files import ImageMeta, read_meta
from crest.data.origins import columns_in, with_sources
from crest.data.prepared import Prepared
from crest.data.verifying import file_hash
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.errors import ParameterError
from crest.label_noise import LabelNoise, noise_of
from crest.models import spec_for, starts_at_random
from crest.pipeline import embeddings
from crest.pipeline.embeddings import DESCRIPTION, Described, splits_of
from crest.pipeline.inputs import (
    configure_torch,
    fresh_model,
    prepared_data,
    run_precision,
    say_of_size,
)
from crest.pipeline.paths import EMBEDDED, Paths
from crest.pipeline.progress import progress_bar


def run(parameters: Parameters, paths: Paths, name: str | None = None) -> dict[str, Any]:
    """Write artifacts/embed/MODEL: embeddings, and a table of copies, strays and wrong labels.

    Embeddings that are there already and would be the same are kept, so that another threshold
    takes seconds.

    Parameters
    ----------
    name
        A model, with the weights of its name or of its library; None for train.model, with
        train.weights.

    Returns
    -------
    dict
        How many examples there are, and of each finding.

    Raises
    ------
    ParameterError
        If the model has no weights to begin with, or is not one for the data.
    ArtifactError
        If the prepared data are missing or damaged.
    """
    parameters = _of(parameters, name)
    configure_torch(parameters)
    precision = run_precision(parameters)
    _require_images(paths, parameters)
    data = prepared_data(parameters, paths, precision.device)
    spec = spec_for(parameters.train, data.meta, data.preprocessing)
    model = fresh_model(spec, parameters.train.seed, precision.device)
    say_of_size(data)
    described = embeddings.describe(model, spec, data.meta, precision, parameters.embed.dtype)
    folder = paths.embed(spec.name)
    with artifacts.replacing_folder(folder, EMBEDDED) as partial:
        kept = folder if embeddings.read_described(folder) == described else None
        _write_arrays(partial, kept, model, data, precision, described)
        data.require_whole()
        table, counts = _findings(partial, described, data, parameters, precision, paths.prepared)
        about = {"data": data.meta.content_hash}
        artifacts.write_table(
            partial / artifacts.EMBEDDED, table, about=about, more=columns_in(table)
        )
        hashes = {path.name: file_hash(path) for path in sorted(partial.glob("*.npy"))}
        what = {"of": asdict(described), "found": counts, "sha256": hashes}
        artifacts.write_json(partial / DESCRIPTION, what)
    return counts


def _write_arrays(
    partial: Path,
    kept: Path | None,
    model: nn.Module,
    data: Prepared,
    precision: Precision,
    described: Described,
) -> None:
    """Write the embeddings of every split, or copy those that are kept."""
    splits = splits_of(data)
    before = 0
    with progress_bar("embed", sum(map(len, splits.values()))) as advance:

        def done(count: int) -> None:
            advance(before + count)

        for name, split in splits.items():
            file = embeddings.file_of(name)
            if kept is not None and embeddings.is_whole(kept, name):
                shutil.copyfile(kept / file, partial / file)
            else:
                embeddings.write_array(partial / file, model, split, precision, described, done)
            before += len(split)
            advance(before)


def _of(parameters: Parameters, name: str | None) -> Parameters:
    """Return the parameters with another model as train.model."""
    if name is None or name == parameters.train.model:
        return parameters
    weights = None if "/" in name else "pretrained"
    train = parameters.train.model_copy(update={"model": name, "weights": weights})
    return parameters.model_copy(update={"train": train})


def _require_images(paths: Paths, parameters: Parameters) -> None:
    settings, meta = parameters.train, read_meta(paths.prepared)
    if not isinstance(meta, ImageMeta):
        raise ParameterError(
            f"embed: {paths.prepared} holds text; it is of images (for texts give features of your "
            "own to crest.estimate_label_noise)"
        )
    if starts_at_random(settings, meta):
        raise ParameterError(
            f"embed: {settings.model} would start from random weights, which tell nothing; set "
            "train.weights, such as to pretrained, or name a model of the hub (--model)"
        )


def _findings(
    folder: Path,
    described: Described,
    data: Prepared,
    parameters: Parameters,
    precision: Precision,
    prepared: Path,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the 'embedded' table of all splits, and counts of it."""
    splits = splits_of(data)
    arrays = {
        name: embeddings.open_array(folder, name, described, len(split))
        for name, split in splits.items()
    }
    labels = splits["train"].labels
    settings = parameters.embed
    features = FeatureSplit(torch.from_numpy(np.array(arrays["train"])), labels, precision.device)
    noise = noise_of(features, len(data.meta.classes), generator_for(0, "label noise"))
    assert noise is not None
    parts = []
    for name, split in splits.items():
        found = near.nearest(
            arrays[name],
            arrays["train"],
            settings.neighbours,
            settings.duplicate,
            precision.device,
        )
        rows = _rows(name, split.labels, labels, found, noise if name == "train" else None)
        parts.append(with_sources(rows, prepared, name))
    table = pl.concat(parts, how="diagonal")
    return table, _counts(table)


def _rows(
    split: str,
    labels: Tensor,
    of_train: Tensor,
    found: near.Neighbours,
    noise: LabelNoise | None,
) -> pl.DataFrame:
    """Return a split's rows; neighbours and copies are examples of the training split."""
    distance = near.distances(found)
    copied = near.originals(found.copied) if split == "train" else found.copied
    count = len(labels)
    likely_wrong = torch.full((count,), torch.nan) if noise is None else 1.0 - noise.quality
    wrong = likely_wrong > 0.5
    taken_for = torch.full((count,), artifacts.NEVER)
    if noise is not None:
        taken_for = torch.where(noise.predicted == labels, artifacts.NEVER, noise.predicted)
    columns: Mapping[str, Any] = {
        "split": [split] * count,
        "index": np.arange(count),
        "label": labels.numpy(),
        "nearest": found.indices[:, 0].numpy(),
        "similarity": found.similarities[:, 0].numpy(),
        "agreement": near.agreement(found, labels, of_train).numpy(),
        "outlier_score": distance.numpy(),
        "outlier": near.strays(distance).numpy(),
        "duplicate_of": copied.numpy(),
        "wrong_label": likely_wrong.double().numpy(),
        "taken_for": taken_for.to(torch.int32).numpy(),
        "suspected": wrong.numpy(),
    }
    frame = pl.DataFrame(columns, schema=dict(artifacts.TABLES["embedded"]))
    return frame.with_columns(pl.col("wrong_label").fill_nan(None))


def _counts(table: pl.DataFrame) -> dict[str, Any]:
    """Return how many examples there are, and how many copies, strays and suspects."""
    train = table.filter(pl.col("split") == "train")
    others = table.filter(pl.col("split") != "train")
    copies = pl.col("duplicate_of") >= 0
    across = pl.col("label") != pl.col("label_of_original")
    originals = train.select(pl.col("index").alias("duplicate_of"), label_of_original="label")
    joined = train.filter(copies).join(originals, on="duplicate_of")
    return {
        "examples": len(train),
        "duplicates": len(joined),
        "duplicates_of_another_label": len(joined.filter(across)),
        "outliers": int(train["outlier"].sum()),
        "suspected_labels": int(train["suspected"].sum()),
        "share_of_wrong_labels": float(train["wrong_label"].to_numpy().mean()),
        **{
            f"{name}_also_in_train": len(others.filter(pl.col("split") == name, copies))
            for name in others["split"].unique(maintain_order=True)
        },
    }
