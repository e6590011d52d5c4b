"""Labels of any source as class numbers 0 to k-1, and the examples held out for validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crest.data.class_names import Spellings, display_name, found_names, near_duplicates
from crest.data.label_types import plain_labels
from crest.data.sources import Labelled, Labels, Source, some
from crest.errors import DataError, ParameterError

UNLABELLED = -1  # what `datasets` has in the place of a label that is not there


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

    Integer labels are class numbers already, or, where neither the source nor its data set names
    the classes, numbers without gaps that begin anywhere. Strings are numbered in the order of the
    class names, or, where no names are known, in alphabetical order.

    Parameters
    ----------
    chosen
        prepare.classes: the first so many classes.

    Raises
    ------
    DataError
        If a split is empty or without labels, or a label is missing, not a number, or outside the
        classes.
    ParameterError
        If ``chosen`` contradicts the classes' names or the data.
    """
    splits = source.splits
    read = {name: read_labels(reader, name, source) for name, reader in splits.items()}
    train = read["train"]
    names = _choose(_known_names(source), chosen)
    for name, labels in read.items():
        if labels.dtype != train.dtype and not names:
            raise DataError(
                f"{splits[name].label_at(0)}: labels are {labels.dtype}, those of train "
                f"{train.dtype}; use one type"
            )
    classes = _declared(source, names, train) if names else _found(source.train, train, chosen)
    if chosen is not None:
        classes = replace(classes, beyond=", or set prepare.classes to null")
    numbers = {name: _encode(splits[name], labels, classes) for name, labels in read.items()}
    counts = np.bincount(numbers["train"], minlength=len(classes.names))
    if (counts > 0).sum() < 2:
        column = ", or set prepare.label_column" if hasattr(source.train, "label_column") else ""
        raise DataError(
            f"{source.train.label_at(0)}: all labels are the same; add examples of a second class"
            f"{column}"
        )
    notes = (
        *classes.notes,
        *near_duplicates(classes.names),
        *_without_examples(classes.names, counts),
    )
    return Encoded(numbers, classes.names, notes)


def read_labels(reader: Labelled, split: str, source: Source[Any] | None = None) -> pl.Series:
    """Read labels that are all there, as Int64 or String."""
    if len(reader) == 0:
        raise DataError(f"the {split} split is empty; it needs at least one example")
    found = reader.labels()
    labels = plain_labels(found, reader.label_at)
    unlabelled = labels.is_null()
    if labels.dtype == pl.Int64:
        unlabelled |= (labels == UNLABELLED).fill_null(True)
    if unlabelled.all() and split != "train":
        raise DataError(f"{reader.label_at(0)}: {_unlabelled(split, source)}")
    if missing := labels.is_null().arg_true().head(1).to_list():
        what = {float: "NaN", str: "blank"}.get(type(found[missing[0]]), "null")
        where = reader.label_at(missing[0])
        raise DataError(f"{where}: the label is {what}; label the row or remove it")
    return labels


def _unlabelled(split: str, source: Source[Any] | None) -> str:
    """Say what to do about a split without any label, as hidden test sets are."""
    spare = source.spare() if source is not None else None
    other = f"set prepare.{split}_split={spare}, which is there" if spare else ""
    share = "set prepare.test_share, such as 0.1, to hold out a share of train"
    if split == "validation":
        share = "set prepare.validation_split to null to hold out a share of train"
    return (
        f"the {split} split has no labels, as those of a hidden test set; "
        f"{', or '.join(filter(None, (other, share)))}"
    )


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


@dataclass(frozen=True)
class Classes:
    """The classes of a source: the name of the first belongs to the label ``start``."""

    names: list[str]
    start: int = 0
    notes: tuple[str, ...] = ()
    beyond: str = ""  # what to do, but for correcting it, about a number that is of none of them


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
        raise ParameterError(
            f"prepare.classes: {chosen}, but there are {len(names)} classes; lower it, or set it "
            "to null"
        )
    return names[:chosen]


def _declared(source: Source[Any], names: list[str], train: pl.Series) -> Classes:
    """Classes that are known beforehand; numbers of them may begin at 1 where they are no names."""
    if isinstance(source.expected, int) and not source.class_names and _from_one(train, len(names)):
        return Classes([str(int(name) + 1) for name in names], 1, (_renumbered(1, len(names)),))
    return Classes(names)


def _found(reader: Labelled, labels: pl.Series, chosen: int | None) -> Classes:
    """Classes of a source that does not name them."""
    if labels.dtype == pl.String:
        names, notes = found_names(labels.unique())
        if chosen is not None and chosen != len(names):
            raise ParameterError(
                f"prepare.classes: {chosen}, but train has {len(names)}: "
                f"{some([display_name(name) for name in names])}; set it to null"
            )
        return Classes(names, 0, tuple(notes))
    _reject(
        reader,
        labels < 0,
        "the label is negative, which usually stands for none; label the row or remove it, or "
        "number the classes from 0",
    )
    numbers = labels.unique().sort()
    start, count = int(numbers[0]), len(numbers)
    gaps = numbers.to_numpy() - start != np.arange(count)
    if chosen is not None and not (chosen == count and start == 1 and not gaps.any()):
        if chosen > len(labels):
            raise ParameterError(
                f"prepare.classes: {chosen}, but train has {len(labels)} examples, of {count} "
                "classes; lower it, or set it to null"
            )
        return Classes(_numbers(chosen))
    if gaps.any():
        highest = int(numbers[-1])
        classes = f", or set prepare.classes to {highest + 1}" if highest < len(labels) else ""
        after_gap = labels == int(numbers.filter(gaps)[0])
        _reject(
            reader,
            after_gap,
            f"train has {count} different labels, but not {start} to {start + count - 1}; renumber "
            f"them without gaps{classes}",
        )
    notes = [_renumbered(start, count)] if start else []
    beyond = ", or set prepare.classes to {highest} where it is one"
    return Classes([str(start + place) for place in range(count)], start, tuple(notes), beyond)


def _from_one(labels: pl.Series, count: int) -> bool:
    """Whether labels are numbers that begin at 1."""
    return labels.dtype == pl.Int64 and labels.min() == 1 and labels.max() == count


def _renumbered(start: int, count: int) -> str:
    return f"labels {start} to {start + count - 1} are numbered 0 to {count - 1}"


def _encode(reader: Labelled, labels: pl.Series, classes: Classes) -> Labels:
    if labels.dtype == pl.String:
        spellings = Spellings(classes.names)
        different = labels.unique().to_list()
        numbers = [spellings.number(label) for label in different]
        encoded = labels.replace_strict(different, numbers, return_dtype=pl.Int64).to_numpy()
        if (encoded < 0).any():
            row = int(np.flatnonzero(encoded < 0)[0])
            raise DataError(f"{reader.label_at(row)}: {spellings.unknown(labels[row])}")
        return encoded
    first, last = classes.start, classes.start + len(classes.names) - 1
    outside = ((labels < first) | (labels > last)).arg_true()
    if len(outside):
        row = int(outside[0])
        label = int(labels[row])
        none = ", which stands for none; label the row or remove it"
        beyond = classes.beyond.format(highest=int(labels.max()) + 1)  # type: ignore[arg-type]
        known = f", outside the classes {first} to {last}; correct it{beyond}"
        raise DataError(
            f"{reader.label_at(row)}: the label is {label}{none if label == UNLABELLED else known}"
        )
    return labels.to_numpy() - first


def _without_examples(names: Sequence[str], counts: NDArray[np.int64]) -> list[str]:
    """Notes on classes that the model is given an output for, and nothing to learn it by."""
    missing = [display_name(names[int(number)]) for number in np.flatnonzero(counts == 0)]
    if not missing:
        return []
    return [f"{len(missing)} of {len(names)} classes have no training example: {some(missing)}"]


def _reject(reader: Labelled, wrong: pl.Series, message: str) -> None:
    """Raise for the first row that is wrong, if any."""
    rows = wrong.arg_true()
    if len(rows):
        raise DataError(f"{reader.label_at(int(rows[0]))}: {message}")


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]
