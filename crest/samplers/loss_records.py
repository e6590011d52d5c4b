"""What was reported of each example: rows of the 'examples' table, for training of any kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from crest.artifacts import NEVER, TABLES
from crest.data.given import integers
from crest.errors import ParameterError
from crest.samplers.example_tracker import ExampleTracker

NAME = "LossBatchSampler"  # in messages
# Of a report, in place of the class that a wrong output names; below NEVER, which is of no class.
RIGHT, UNKNOWN = -2, -3
LOSSES, CORRECT, PREDICTIONS = "losses", "losses and correct", "losses, correct and predictions"
LAST_LOSS = {"last_loss": pl.Float32}  # beside the columns of the table; null for never seen


class LossRecords:
    """How each example fared, by what was reported of it: counts of all processes together.

    Parameters
    ----------
    count
        Examples of the data set, n.

    Notes
    -----
    25 bytes an example once something was reported, and 8 more with predictions.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._reported: str | None = None  # what every report has; None before the first
        self._tracker: ExampleTracker | None = None

    def outcomes(self, count: int, correct: Any, predictions: Any) -> Tensor:
        """Return what a report says of each of its examples beside the loss, int32.

        Raises
        ------
        ParameterError
            If it is not what the arguments must be, or other than in the reports before.
        """
        found = LOSSES if correct is None else CORRECT if predictions is None else PREDICTIONS
        if correct is None and predictions is not None:
            raise ParameterError(f"{NAME}.update: predictions without correct; give both")
        if found != self._reported and self._reported is not None:
            raise ParameterError(
                f"{NAME}.update: {found}, where the reports before have {self._reported}: what was "
                "forgotten is known only if every report has them"
            )
        if correct is None:
            made = torch.full((count,), UNKNOWN, dtype=torch.int32)
        else:
            right = _one_for_each("correct", correct, count)
            if right.dtype != torch.bool:
                raise ParameterError(f"{NAME}.update: correct: {right.dtype}; give truth values")
            classes = _classes(predictions, right)
            made = torch.where(right, RIGHT, classes)
        self._reported = found
        return made

    def count(self, indices: Tensor, losses: Tensor, outcomes: Tensor, batches: Tensor) -> None:
        """Count reports, each as if it came alone.

        Parameters
        ----------
        indices, losses, outcomes, batches
            Length k; which examples, their losses, what :meth:`outcomes` returned, and the numbers
            of the batches, which never decrease.

        Raises
        ------
        ParameterError
            If processes report different things.
        """
        known = outcomes != UNKNOWN
        if bool(known.any()) != bool(known.all()) or bool(known.any()) != self._has_correct:
            raise ParameterError(
                f"{NAME}.update: one process reports {LOSSES} and another also correct; let all "
                "report the same"
            )
        if self._tracker is None:
            self._tracker = self._new_tracker()
        indices = indices.long()
        self._tracker.record(indices, outcomes == RIGHT, losses, batches)
        if self._reported == PREDICTIONS:
            named = outcomes >= 0
            self._tracker.record_wrong(indices[named], outcomes[named])

    def frame(self, labels: Any, last: Tensor) -> pl.DataFrame:
        """Return rows of the 'examples' table, and the last loss of each example.

        Parameters
        ----------
        labels
            n integers; None for null.
        last
            float32, n: last losses, NaN for none.

        Raises
        ------
        ParameterError
            If labels are none.
        """
        given = torch.zeros(self._count, dtype=torch.int64)
        if labels is not None:
            given = integers(labels, "labels")
        if len(given) != self._count:
            raise ParameterError(
                f"{NAME}: labels: {len(given)} for {self._count} examples; give one for each"
            )
        tracker = self._new_tracker() if self._tracker is None else self._tracker
        unknown = [] if labels is not None else ["label"]
        if not self._has_correct:
            unknown += ["correct", "forgotten", "first_learned"]
        return tracker.frame(given, "training").with_columns(
            *(pl.lit(None, dtype=TABLES["examples"][name]).alias(name) for name in unknown),
            last_loss=pl.Series(last.numpy(), nan_to_null=True),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        tracked = {} if self._tracker is None else self._tracker.state_dict()
        return {
            "reported": self._reported,
            "counts": {name: values.clone() for name, values in tracked.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._reported, self._tracker = state["reported"], None
        if state["counts"]:
            self._tracker = self._new_tracker()
            self._tracker.load_state_dict(state["counts"])

    @property
    def _has_correct(self) -> bool:
        return self._reported in (CORRECT, PREDICTIONS)

    def _new_tracker(self) -> ExampleTracker:
        votes = self._reported == PREDICTIONS
        return ExampleTracker(self._count, errors=False, votes=votes)


def _classes(predictions: Any, right: Tensor) -> Tensor:
    """Return the classes that are named, int32; -1 where none is."""
    if predictions is None:
        return torch.full_like(right, NEVER, dtype=torch.int32)
    classes = _one_for_each("predictions", predictions, len(right))
    if classes.is_floating_point() or classes.dtype == torch.bool:
        raise ParameterError(
            f"{NAME}.update: predictions: {classes.dtype}; give numbers of classes"
        )
    return classes.to(right.device, torch.int32).clamp(min=NEVER)


def _one_for_each(name: str, values: Any, count: int) -> Tensor:
    given = values.detach() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    if given.shape != (count,):
        shape = "×".join(map(str, given.shape)) or "a single one"
        raise ParameterError(f"{NAME}.update: {name}: {shape} for {count} indices; give one each")
    return given
