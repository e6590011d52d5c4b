"""evaluate: a trained model on the test split, which nothing else touches."""

from pathlib import Path
from typing import Any

from crest import artifacts
from crest.config import Parameters
from crest.errors import ArtifactError
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.methods import check_method
from crest.pipeline import manifest
from crest.pipeline.inputs import (
    configure_torch,
    load_trained,
    prepared_data,
    run_precision,
)
from crest.pipeline.paths import EVALUATED, Paths
from crest.pipeline.predictions import predictions, require_numbers

# What the metrics of training and of evaluation share.
KEPT = ("method", "model", "dataset", "steps", "budget", "examples_trained", "seconds_train", "run")


def run(parameters: Parameters, paths: Paths, method: str) -> dict[str, Any]:
    """Evaluate a method's model, and write artifacts/evaluate/METHOD; returns its metrics.

    Raises
    ------
    ParameterError
        If the method is unknown.
    ArtifactError
        If the model or the prepared data are missing, damaged, or do not go together.
    """
    check_method(method)
    configure_torch(parameters)
    precision = run_precision(parameters)
    source = paths.train(method)
    model_file = source / artifacts.MODEL
    given = model_file if model_file.is_file() else None
    data = prepared_data(parameters, paths, precision.device, given)
    if not source.is_dir():
        raise ArtifactError(
            f"{source}: no such run; make it with `python cli.py train --method {method}`"
        )
    trained = _training_metrics(source / artifacts.METRICS)
    model = load_trained(source / artifacts.MODEL, data, precision.device)
    sealed = manifest.of_training(source, method)
    sealed.require_data(data.meta)
    sealed.verify(artifacts.METRICS, artifacts.MODEL)
    evaluation = evaluate(Evaluator(model, data.test, precision), parameters.evaluate.batch_size)
    data.require_whole()
    require_numbers(evaluation, source / artifacts.MODEL)
    metrics = {"accuracy": evaluation.accuracy, "loss": evaluation.loss, **trained}
    with artifacts.replacing_folder(paths.evaluate(method), EVALUATED) as partial:
        artifacts.write_table(partial / artifacts.PREDICTIONS, predictions(evaluation))
        artifacts.write_json(partial / artifacts.METRICS, metrics)
        manifest.seal(partial, {method: sealed.run(method)}, data.meta.content_hash)
    return metrics


def _training_metrics(path: Path) -> dict[str, Any]:
    values = artifacts.read_json(path)
    for key in KEPT:
        if key not in values:
            raise ArtifactError(f"{path}: lacks '{key}'; train again")
    return {key: values[key] for key in KEPT}
