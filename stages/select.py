"""select: one region's coresets for a given model, without training it."""

import math
from pathlib import Path

import polars as pl

from crest import artifacts
from crest.config import Parameters
from crest.data.files import read_meta
from crest.data.origins import with_sources
from crest.devices.generators import generator_for
from crest.devices.limits import require_passes
from crest.errors import ParameterError
from crest.inference.evaluator import Evaluator
from crest.methods.crest import CrestParameters
from crest.pipeline.inputs import configure_torch, load_trained, prepared_data, run_precision
from crest.pipeline.paths import Paths
from crest.pipeline.texts import with_class_names
from crest.regions.active import ActiveSet
from crest.regions.interval import minibatch_count
from crest.samplers.limits import MINIBATCHES, examples_of_each, require_room_for_distances
from crest.samplers.sizes import subset_size
from crest.selection.choices import UNBIASED, find_choice
from crest.selection.choosing import select_minibatch_coresets
from crest.selection.coresets import coreset_rows
from crest.selection.gradients import find_proxy

# Files beside which others are parts of one whole: a run, prepared data, what Coresets.save wrote.
WHOLES = (artifacts.RUN, artifacts.MANIFEST, "meta.json", artifacts.STEPS)
PARQUET = b"PAR1"  # what a file of it begins with


def as_json(table: pl.DataFrame, paths: Paths) -> str:
    """Return the 'coresets' table as a JSON array of rows, each with its class, file and row."""
    named = with_class_names(table, read_meta(paths.prepared).classes)
    return with_sources(named, paths.prepared).write_json()


def as_bytes(table: pl.DataFrame, paths: Paths) -> bytes:
    """Return what is written to a file, for a stream."""
    about = {"data": read_meta(paths.prepared).content_hash}
    return artifacts.table_bytes(table, "coresets", about)


def refuse_what_is_kept(out: Path) -> None:
    """Refuse to write over a file of a run, of prepared data, or of anything but coresets.

    Raises
    ------
    ParameterError
        If there is such a file.
    """
    if not out.is_file():
        return
    if (
        whole := next((name for name in WHOLES if (out.parent / name).is_file()), None)
    ) is not None:
        raise ParameterError(
            f"--out {out}: belongs to what {out.parent / whole} is of, which would be lost; name a "
            "file in another folder"
        )
    with out.open("rb") as file:
        begins = file.read(len(PARQUET))
    if begins not in (b"", PARQUET):
        raise ParameterError(
            f"--out {out}: is there and no Parquet file; name a new one, or remove it first"
        )


def run(
    parameters: Parameters,
    paths: Paths,
    checkpoint: Path,
    out: Path | None,
    minibatches: int | None,
) -> pl.DataFrame:
    """Select mini-batch coresets for a checkpoint; returns the 'coresets' table, region 0.

    Parameters
    ----------
    checkpoint
        A model.safetensors.
    out
        Where to write coresets.parquet, if anywhere.
    minibatches
        P; None for what a first region selects, crest.minibatch_factor.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data, or ``out`` is a file of something else.
    ArtifactError
        If the checkpoint or the prepared data are missing, damaged, or do not go together.
    """
    if out is not None:
        refuse_what_is_kept(out)
    settings = parameters.of(CrestParameters)
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = prepared_data(parameters, paths, precision.device, checkpoint)
    model = load_trained(checkpoint, data, precision.device)
    size = subset_size(settings, len(data.train), parameters.train.batch_size)
    count = minibatches or minibatch_count(settings.minibatch_factor, 1)
    each = examples_of_each(settings, parameters.train.batch_size, size)
    key = "--minibatches" if minibatches else "crest.minibatch_factor"
    require_passes(key, count, each, len(data.train), MINIBATCHES)
    if settings.choice not in UNBIASED:
        require_room_for_distances("crest.subset_size", size, precision.device)
    generator = generator_for(parameters.train.seed, "select")
    active = ActiveSet(len(data.train))
    coresets = select_minibatch_coresets(
        Evaluator(model, data.train, precision),
        [active.draw(size, generator) for _ in range(math.ceil(count / settings.subset_coresets))],
        parameters.train.batch_size,
        find_proxy(settings.proxy, smoothing=parameters.train.label_smoothing),
        find_choice(settings.choice),
        generator,
        region=0,
        each=settings.subset_coresets,
    )[:count]
    data.require_whole()
    table = coreset_rows(coresets, data.train.labels)
    if out is not None:
        artifacts.write_table(out, table, "coresets", {"data": data.meta.content_hash})
    return table
