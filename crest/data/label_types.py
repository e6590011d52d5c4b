"""Labels of any type as whole numbers or strings, with nothing rounded, widened or made up."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from crest.errors import DataError

Place = Callable[[int], str]


def plain_labels(labels: pl.Series, place: Place) -> pl.Series:
    """Return labels as Int64 or String; null for none, which blanks and NaN are too.

    Booleans are 0 and 1; floats and decimals are whole or refused.

    Parameters
    ----------
    place
        Names the place of a row, for messages.

    Raises
    ------
    DataError
        If a label is no whole number of 64 bits and no string; the message names the first such.
    """
    # Polars looks a series up by its name, as a pattern: one called ^label$ has no methods.
    labels = labels.alias("label")
    kind = labels.dtype
    if isinstance(kind, pl.Categorical | pl.Enum):
        return _without_blanks(labels.cast(pl.String))
    if kind == pl.String:
        return _without_blanks(labels)
    if labels.null_count() == len(labels) or kind == pl.Boolean:
        return labels.cast(pl.Int64) if kind == pl.Boolean else _none(labels)
    if not kind.is_numeric():
        _refuse(labels, labels.is_not_null(), "labels are whole numbers or strings", place)
    if kind.is_float():
        labels = labels.fill_nan(None)
    whole = labels.cast(pl.Int64, strict=False)
    if not kind.is_integer():
        fractions = labels.is_not_null() & (whole.cast(kind, strict=False) != labels)
        _refuse(labels, fractions.fill_null(False), "labels are whole numbers or strings", place)
    _refuse(labels, whole.is_null() & labels.is_not_null(), "a label has 64 bits at most", place)
    return whole


def joined(parts: Sequence[pl.Series], place: Place) -> pl.Series:
    """Join the labels of a split's files, as :func:`plain_labels` returns them.

    Raises
    ------
    DataError
        If some are numbers and some are strings.
    """
    kinds = {part.dtype for part in parts if part.null_count() < len(part)}
    if len(kinds) > 1:
        first, start = next(part.dtype for part in parts if part.null_count() < len(part)), 0
        for part in parts:
            if part.dtype != first and part.null_count() < len(part):
                raise DataError(
                    f"{place(start)}: labels are {_kind(part)}, those of the files before "
                    f"{_kind(pl.Series(dtype=first))}; use one type"
                )
            start += len(part)
    kind = next(iter(kinds), pl.Int64)
    return pl.concat([part.cast(kind) for part in parts], rechunk=True)


def _kind(labels: pl.Series) -> str:
    return "strings" if labels.dtype == pl.String else "numbers"


def _none(labels: pl.Series) -> pl.Series:
    return pl.Series(labels.name, [None] * len(labels), pl.Int64)


def _without_blanks(labels: pl.Series) -> pl.Series:
    return labels.set(labels.str.strip_chars() == "", None)


def _refuse(labels: pl.Series, wrong: pl.Series, what: str, place: Place) -> None:
    """Raise for the first label that is wrong, if any."""
    rows = wrong.arg_true()
    if len(rows):
        row = int(rows[0])
        raise DataError(
            f"{place(row)}: the label is {short(labels[row])} ({labels.dtype}); {what}: convert "
            "the column, or set prepare.label_column"
        )


def short(value: Any) -> str:
    """Show a value in a message: in one line and not at length."""
    text = value.to_list() if isinstance(value, pl.Series) else value
    return f"{text!r:.40}"
