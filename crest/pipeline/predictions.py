"""What a model answers on the test split: refused where it is no number, kept as a table."""

from pathlib import Path

import polars as pl

from crest.errors import TrainingError
from crest.inference.evaluation import Evaluation


def require_numbers(evaluation: Evaluation, model: Path) -> None:
    """Refuse a model that answers with what are no finite numbers, as one that diverged does."""
    wrong = int((~evaluation.losses.isfinite()).sum())
    if wrong:
        raise TrainingError(
            f"{model}: its outputs are no finite numbers for {wrong:,} of "
            f"{len(evaluation.losses):,} test examples, so that it has no accuracy: training "
            "diverged in its last steps; lower train.lr and train again"
        )


def predictions(evaluation: Evaluation) -> pl.DataFrame:
    """Rows of the 'predictions' table."""
    return pl.DataFrame(
        {
            "index": range(len(evaluation.labels)),
            "label": evaluation.labels.numpy(),
            "prediction": evaluation.predictions.numpy(),
            "confidence": evaluation.confidences.numpy(),
            "loss": evaluation.losses.numpy(),
        }
    )
