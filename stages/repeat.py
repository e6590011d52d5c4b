"""repeat: a method trained once more with another seed, and evaluated."""

from dataclasses import replace
from typing import Any

from crest import artifacts
from crest.config import Parameters
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.methods import check_method
from crest.parameters.section import value_of
from crest.pipeline import signals
from crest.pipeline.inputs import configure_torch, prepared_data, run_precision
from crest.pipeline.manifest import coresets_origin, seal
from crest.pipeline.paths import TRAINED, Paths
from crest.pipeline.predictions import predictions, require_numbers
from crest.pipeline.resume import checkpoint_for
from crest.pipeline.runs import train_model, write
from crest.pipeline.saved_coresets import read_coresets
from crest.pipeline.seeds import check_seeds
from crest.pipeline.tracking import Tracks, require, settings_of


def run(
    parameters: Parameters, paths: Paths, method: str, seed: int, fresh: bool = False
) -> dict[str, Any]:
    """Train with a method and a seed, and write artifacts/seeds/METHOD/SEED; returns its metrics.

    All else is as ``train`` and ``evaluate`` have it, but that no snapshots are kept. A run that
    was stopped or killed goes on from its last saved state, unless ``fresh``.

    Raises
    ------
    ParameterError
        If the method is unknown, the seed is train.seed, or a parameter does not fit the data.
    ArtifactError
        If prepared data or the coresets to replay are missing or damaged.
    TrainingError
        If training fails.
    """
    check_method(method)
    check_seeds(parameters, [seed])
    require(parameters.run.track)
    train = parameters.train.model_copy(update={"seed": seed, "snapshots": 0})
    parameters = parameters.model_copy(update={"train": train})
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = prepared_data(parameters, paths, precision.device)
    saved, origin = None, None
    if method == "replay":
        source = paths.root / value_of(parameters, "replay.coresets")
        saved = read_coresets(source, data, parameters.train.batch_size)
        origin = coresets_origin(source, data.meta)
    folder = paths.repeat(method, seed)
    place = paths.resume(f"repeat-{method}-{seed}")
    settings = settings_of(parameters, method)
    with (
        signals.noted() as stop,
        Tracks(parameters.run.track, place.stem, paths.root, settings, place) as tracks,
        artifacts.replacing_folder(folder, TRAINED) as partial,
    ):
        checkpoint = checkpoint_for(
            place, parameters, method, data.meta, precision, saved, stop, stage="repeat"
        )
        if fresh:
            checkpoint.remove()
        tracks.open(resumed=place.exists())
        trained = train_model(
            parameters, data, method, precision, saved, checkpoint, track=tracks.log
        )
        evaluation = evaluate(
            Evaluator(trained.model, data.test, precision), parameters.evaluate.batch_size
        )
        require_numbers(evaluation, folder / artifacts.MODEL)
        metrics = {
            **trained.metrics,
            "seed": seed,
            "accuracy": evaluation.accuracy,
            "loss": evaluation.loss,
        }
        tracks.conclude(metrics)
        write(replace(trained, metrics=metrics), partial)
        artifacts.write_table(partial / artifacts.PREDICTIONS, predictions(evaluation))
        seal(partial, {method: metrics["run"]}, data.meta.content_hash, origin)
    checkpoint.remove()
    return metrics
