"""train: a model on what a method chooses, everything saved."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from crest import artifacts
from crest.config import Parameters
from crest.devices.distributed import ALONE, Group
from crest.devices.precision import Precision
from crest.methods import check_method
from crest.parameters.section import value_of
from crest.pipeline import signals
from crest.pipeline.code import Sources
from crest.pipeline.inputs import configure_torch, prepared_data, run_precision
from crest.pipeline.manifest import coresets_origin, seal
from crest.pipeline.paths import TRAINED, Paths
from crest.pipeline.resume import checkpoint_for
from crest.pipeline.runs import train_model, write
from crest.pipeline.saved_coresets import read_coresets
from crest.pipeline.tracking import Tracks, require, settings_of
from crest.training.state import Checkpoint


def run(
    parameters: Parameters,
    paths: Paths,
    method: str,
    fresh: bool = False,
    group: Group = ALONE,
) -> dict[str, Any]:
    """Train with a method, and write everything to artifacts/train/METHOD; returns its metrics.

    A run that was stopped or killed goes on from its last saved state, unless ``fresh``. Of several
    processes that train together rank 0 writes.

    Raises
    ------
    ParameterError
        If the method is unknown or a parameter does not fit the data.
    MissingPackageError
        If the library of one of run.track is not installed.
    ArtifactError
        If prepared data or the coresets to replay are missing or damaged.
    TrainingError
        If training fails.
    """
    check_method(method)
    names = parameters.run.track if group.first else ()
    require(names)
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = prepared_data(parameters, paths, precision.device)
    saved, origin = None, None
    if method == "replay":
        source = paths.root / value_of(parameters, "replay.coresets")
        saved = read_coresets(source, data, parameters.train.batch_size)
        origin = coresets_origin(source, data.meta)
    run_name = f"train-{method}"
    place = paths.resume(run_name)
    with (
        signals.noted(raise_on_second=group.alone) as stop,
        Tracks(names, run_name, paths.root, settings_of(parameters, method), place) as tracks,
        _results(paths.train(method), group) as folder,
    ):
        checkpoint = checkpoint_for(
            place, parameters, method, data.meta, precision, saved, stop, group
        )
        if not group.alone:
            with group.reporting_lost():
                group.require_same(_started_with(checkpoint, precision, fresh))
        if fresh:
            checkpoint.remove()
            group.wait()
        tracks.open(resumed=place.exists())
        with group.reporting_lost():
            trained = train_model(
                parameters,
                data,
                method,
                precision,
                saved,
                checkpoint,
                group,
                _embeddings(parameters, paths),
                tracks.log,
            )
        tracks.conclude(trained.metrics)
        if folder is not None:
            write(trained, folder)
            runs = {method: trained.metrics["run"]}
            seal(folder, runs, data.meta.content_hash, origin)
    checkpoint.remove()
    return trained.metrics


def _started_with(checkpoint: Checkpoint, precision: Precision, fresh: bool) -> dict[str, str]:
    """Return what all processes of a run have to have the same: of a device, its kind."""
    own = {"code": Sources().digest(), "device": precision.device.type, "--fresh": str(fresh)}
    return {**checkpoint.settings, **own}


def _embeddings(parameters: Parameters, paths: Paths) -> Path | None:
    """Return where the embeddings of a frozen backbone may lie."""
    frozen = parameters.train.freeze == "backbone"
    return paths.embed(parameters.train.model) if frozen else None


def _results(folder: Path, group: Group) -> AbstractContextManager[Path | None]:
    """Return the folder to write results to, put in place at the end; None: nowhere."""
    return artifacts.replacing_folder(folder, TRAINED) if group.first else nullcontext()
