"""reuse: train another model on saved coresets, region by region, and evaluate it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from crest import artifacts
from crest.config import Parameters
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.pipeline import signals
from crest.pipeline.inputs import configure_torch, prepared_data, run_precision
from crest.pipeline.manifest import coresets_origin, seal
from crest.pipeline.paths import TRAINED, Paths
from crest.pipeline.predictions import predictions, require_numbers
from crest.pipeline.resume import checkpoint_for
from crest.pipeline.runs import train_model, write
from crest.pipeline.saved_coresets import read_coresets
from crest.pipeline.tracking import Tracks, require, settings_of


def run(
    parameters: Parameters,
    paths: Paths,
    model: str,
    coresets: Path | None = None,
    fresh: bool = False,
) -> dict[str, Any]:
    """Train ``model`` on saved coresets, and write artifacts/reuse/MODEL; returns its metrics.

    A run that was stopped or killed goes on from its last saved state, unless ``fresh``.

    Raises
    ------
    ParameterError
        If the model is unknown.
    ArtifactError
        If the coresets or the prepared data are missing, damaged, or do not go together.
    TrainingError
        If training fails.
    """
    source = coresets or paths.root / parameters.reuse.coresets
    parameters = _resolved(parameters, model, source)
    require(parameters.run.track)
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = prepared_data(parameters, paths, precision.device)
    saved = read_coresets(source, data, parameters.train.batch_size)
    origin = coresets_origin(source, data.meta)
    place = paths.reuse_state(model)
    settings = settings_of(parameters, "replay")
    with (
        signals.noted() as stop,
        Tracks(parameters.run.track, place.stem, paths.root, settings, place) as tracks,
        artifacts.replacing_folder(paths.reuse(model), TRAINED) as partial,
    ):
        checkpoint = checkpoint_for(
            place, parameters, "replay", data.meta, precision, saved, stop, stage="reuse"
        )
        if fresh:
            checkpoint.remove()
        tracks.open(resumed=place.exists())
        trained = train_model(
            parameters, data, "replay", precision, saved, checkpoint, track=tracks.log
        )
        evaluation = evaluate(
            Evaluator(trained.model, data.test, precision), parameters.evaluate.batch_size
        )
        require_numbers(evaluation, paths.reuse(model) / artifacts.MODEL)
        metrics = {**trained.metrics, "accuracy": evaluation.accuracy, "loss": evaluation.loss}
        tracks.conclude(metrics)
        write(replace(trained, metrics=metrics), partial)
        artifacts.write_table(partial / artifacts.PREDICTIONS, predictions(evaluation))
        seal(partial, {"replay": metrics["run"]}, data.meta.content_hash, origin)
    checkpoint.remove()
    return metrics


def _resolved(parameters: Parameters, model: str, coresets: Path) -> Parameters:
    """Put the model and the coresets of this run where run.json shows them; no snapshots."""
    # What another model starts from is not what this one does, but for what its name says.
    own = model == parameters.train.model
    start = {} if own else {"weights": None, "freeze": "none", "layer_decay": 1.0}
    train = parameters.train.model_copy(update={"model": model, "snapshots": 0, **start})
    reuse = parameters.reuse.model_copy(update={"coresets": str(coresets)})
    return parameters.model_copy(update={"train": train, "reuse": reuse})
