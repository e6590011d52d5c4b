"""Which classes a model takes for which, by its predictions on the test split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

MOST_CLASSES = 20  # of which a table shows every one
MOST_PAIRS = 20  # of classes taken for each other, where there are more


@dataclass(frozen=True)
class ClassRow:
    """A class, its test examples, and the accuracy of each method on it, None without examples."""

    name: str
    examples: int
    accuracies: Sequence[float | None]


@dataclass(frozen=True)
class Confusion:
    """A class that is taken for another: how many of its examples, and their share of it."""

    name: str
    taken_for: str
    examples: int
    share: float


def matrix(predictions: pl.DataFrame, classes: int) -> npt.NDArray[np.int64]:
    """Count test examples by class, down, and by what they are taken for, across.

    Parameters
    ----------
    predictions
        'predictions' table.
    """
    places = predictions["label"].to_numpy() * classes + predictions["prediction"].to_numpy()
    counts = np.bincount(places, minlength=classes * classes)
    return counts.astype(np.int64).reshape(classes, classes)


def by_class(
    matrices: Mapping[str, npt.NDArray[np.int64]], names: Sequence[str], most: int = MOST_CLASSES
) -> list[ClassRow]:
    """Return every class in order, or of more than ``most`` those with the lowest mean accuracy."""
    rows = [
        ClassRow(name, count, [_share(each, place) for each in matrices.values()])
        for place, (name, count) in enumerate(zip(names, _sizes(matrices), strict=True))
    ]
    if len(rows) <= most:
        return rows
    with_examples = [row for row in rows if row.examples]
    return sorted(with_examples, key=lambda row: sum(one or 0.0 for one in row.accuracies))[:most]


def most_confused(
    counts: npt.NDArray[np.int64], names: Sequence[str], most: int = MOST_PAIRS
) -> list[Confusion]:
    """Return the pairs of a class and another that it is most often taken for, most often first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(names)) for place in order]
    return [
        Confusion(
            names[label],
            names[other],
            int(wrong[label, other]),
            float(wrong[label, other] / counts[label].sum()),
        )
        for label, other in pairs
        if wrong[label, other]
    ]


def _sizes(matrices: Mapping[str, npt.NDArray[np.int64]]) -> list[int]:
    counts: list[int] = next(iter(matrices.values())).sum(1).tolist()
    return counts


def _share(counts: npt.NDArray[np.int64], place: int) -> float | None:
    total = int(counts[place].sum())
    return float(counts[place, place] / total) if total else None
