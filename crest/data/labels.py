"""Labels of any source as class numbers 0 to k-1, and the examples held out for validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crest.data.sources import Labelled, Labels, Source, some
from crest.errors import DataError, ParameterError


@dataclass(frozen=True, eq=False)
class Encoded:
    """Class numbers of each split of the source, int64, and the names of the classes.

    ``notes`` are lines for people.
    """

    splits: Mapping[str, Labels]
    classes: list[str]
    notes: tuple[str, ...] = ()

    @property
    def train(self) -> Labels:
        """Those of train."""
        return self.splits["train"]


def encode_labels(source: Source[Any], chosen: int | None = None) -> Encoded:
    """Number the classes of a source.

    Integer labels are class numbers already; strings are numbered in the order of the class names,
    or, where no names are known, in alphabetical order.

    Parameters
    ----------
    chosen
        prepare.classes: the first so many classes.

    Raises
    ------
    DataError
        If a split is empty, a label is null, not a number, or outside the classes, or a class has
        no training example.
    ParameterError
        If ``chosen`` contradicts the classes' names.
    """
    splits = source.splits
    read = {name: read_labels(reader, name) for name, reader in splits.items()}
    train = read["train"]
    for name, labels in read.items():
        if (train.dtype == pl.String) != (labels.dtype == pl.String):
            raise DataError(
                f"{splits[name].label_at(0)}: labels are {labels.dtype}, those of train "
                f"{train.dtype}; use one type"
            )
    classes = _choose(_known_names(source), chosen) or _found(source.train, train, chosen)
    if len(classes) < 2:
        raise DataError(
            f"{source.train.label_at(0)}: all labels are the same; add examples of a second class, "
            "or set prepare.label_column"
        )
    numbers = {name: _encode(splits[name], labels, classes) for name, labels in read.items()}
    encoded = Encoded(numbers, classes)
    _require_all(source.train, encoded)
    return encoded


def read_labels(reader: Labelled, split: str) -> pl.Series:
    """Read labels that are all there, as integers or strings."""
    if len(reader) == 0:
        raise DataError(f"the {split} split is empty; it needs at least one example")
    labels = reader.labels()
    _reject(reader, labels.is_null(), "the label is null; label the row or remove it")
    if labels.dtype.is_float():
        _reject(reader, labels.is_nan(), "the label is NaN; label the row or remove it")
    if not (labels.dtype.is_integer() or labels.dtype == pl.String):
        raise DataError(
            f"{reader.label_at(0)}: the label is {_short(labels[0])} ({labels.dtype}); labels are "
            "integers or strings: convert the column, or set prepare.label_column"
        )
    return labels


def hold_out(
    labels: Labels,
    share: float,
    seed: int | Sequence[int],
    key: str = "prepare.validation",
    least: int = 0,
) -> NDArray[np.bool_]:
    """Draw examples that are not trained on, the same share of each class.

    Parameters
    ----------
    labels
        int64, N.
    share
        Of each class, rounded to whole examples; 0 for none.
    key
        The parameter that sets the share, for messages.
    least
        Examples held out of each class that has more.

    Returns
    -------
    ndarray
        bool, N, True where held out.

    Raises
    ------
    ParameterError
        If nothing would be held out, or a class would have no training example left.
    """
    counts = np.bincount(labels)
    taken = np.maximum(np.floor(share * counts + 0.5).astype(np.int64), least * (counts > least))
    if share > 0 and not taken.any():
        raise ParameterError(
            f"{key}: {share} of {counts.max()} examples a class is none; raise it, or set it to 0"
        )
    if (emptied_classes := np.flatnonzero((taken == counts) & (counts > 0))).size:
        emptied = int(emptied_classes[0])
        raise ParameterError(
            f"{key}: {share} holds out every example of class {emptied}, which has "
            f"{counts[emptied]}; lower it"
        )
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = np.zeros(len(labels), dtype=bool)
    held[by_class[rank < np.repeat(taken, counts)]] = True
    return held


def _known_names(source: Source[Any]) -> list[str] | None:
    """Class names of the source, else of the data set; they must agree on how many there are."""
    names, known = source.class_names, source.expected
    count = known if isinstance(known, int) else len(known or ())
    if names and count and len(names) != count:
        raise DataError(
            f"{source.train.label_at(0)}: the file names {len(names)} classes, this data set has "
            f"{count}; set prepare.source or prepare.dataset to match"
        )
    if names:
        return list(names)
    if isinstance(known, int):
        return _numbers(known)
    return list(known) if known else None


def _choose(names: list[str] | None, chosen: int | None) -> list[str] | None:
    if names is None or chosen is None:
        return names
    if chosen > len(names):
        raise ParameterError(f"prepare.classes: {chosen}, but there are {len(names)} classes")
    return names[:chosen]


def _found(reader: Labelled, labels: pl.Series, chosen: int | None) -> list[str]:
    """Classes of a source that does not name them."""
    if labels.dtype == pl.String:
        found: list[str] = labels.unique().sort().to_list()
        if chosen is not None and chosen != len(found):
            raise ParameterError(
                f"prepare.classes: {chosen}, but train has {len(found)}: {some(found)}"
            )
        return found
    if chosen is not None:
        return _numbers(chosen)
    _reject(reader, labels < 0, "the label is negative; number the classes from 0")
    numbers = labels.unique().sort()
    gaps = numbers.to_numpy() != np.arange(len(numbers))
    after_gap = numbers.filter(gaps).head(1)
    _reject(
        reader,
        labels.is_in(after_gap.implode()),
        f"train has {len(numbers)} different labels, but not 0 to {len(numbers) - 1}; renumber "
        "them without gaps",
    )
    return _numbers(len(numbers))


def _encode(reader: Labelled, labels: pl.Series, classes: list[str]) -> Labels:
    if labels.dtype == pl.String:
        known = f"the classes: {some(classes)}"
        _reject(reader, ~labels.is_in(classes), f"the label is none of {known}; correct it")
        return labels.replace_strict(classes, range(len(classes)), return_dtype=pl.Int64).to_numpy()
    outside = (labels < 0) | (labels >= len(classes))
    _reject(
        reader,
        outside,
        f"the label lies outside the classes 0 to {len(classes) - 1}; correct it, or set "
        "prepare.classes",
    )
    return labels.cast(pl.Int64).to_numpy()


def _require_all(reader: Labelled, encoded: Encoded) -> None:
    counts = np.bincount(encoded.train, minlength=len(encoded.classes))
    missing = [encoded.classes[number] for number in np.flatnonzero(counts == 0)]
    if missing:
        raise DataError(
            f"{reader.label_at(0)}: {len(missing)} of {len(encoded.classes)} classes have no "
            f"training example: {some(missing)}; add some, or set prepare.classes"
        )


def _reject(reader: Labelled, wrong: pl.Series, message: str) -> None:
    """Raise for the first row that is wrong, if any."""
    rows = wrong.arg_true()
    if len(rows):
        raise DataError(f"{reader.label_at(int(rows[0]))}: {message}")


def _short(value: Any) -> str:
    """Show a value in a message: in one line and not at length."""
    text = value.to_list() if isinstance(value, pl.Series) else value
    return f"{text!r:.40}"


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]
