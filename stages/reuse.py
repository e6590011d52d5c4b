"""reuse: train another model on saved coresets, region by region, and evaluate it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from crest import artifacts
from crest.config import Parameters
from crest.training.evaluation import evaluate
from stages.evaluate import predictions
from stages.paths import Paths
from stages.train import prepared_data, read_coresets, run_precision, train_model, write


def run(
    parameters: Parameters, paths: Paths, model: str, coresets: Path | None = None
) -> dict[str, Any]:
    """Train ``model`` on saved coresets, and write artifacts/reuse/MODEL; returns its metrics.

    Raises
    ------
    ParameterError
        If the model is unknown.
    ArtifactError
        If the coresets or the prepared data are missing, damaged, or do not go together.
    TrainingError
        If training fails.
    """
    settings = parameters.train.model_copy(update={"model": model})
    parameters = parameters.model_copy(update={"train": settings})
    precision = run_precision(parameters)
    data = prepared_data(parameters, paths, precision.device)
    saved = read_coresets(coresets or paths.root / parameters.reuse.coresets, data)
    trained = train_model(parameters, data, "replay", precision, saved)
    shown = evaluate(trained.model, data.test, precision, parameters.evaluate.batch_size)
    metrics = {**trained.metrics, "accuracy": shown.accuracy, "loss": shown.loss}
    with artifacts.replacing_folder(paths.reuse(model)) as partial:
        write(replace(trained, metrics=metrics), partial)
        artifacts.write_table(partial / artifacts.PREDICTIONS, predictions(shown))
    return metrics
