"""JSON as rows: values as they stand, of one type a column; none is widened or made into text."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from crest.data.json_objects import NAMES, Objects, Repeating, objects
from crest.data.text_format import TEXTS, keys_of, no_column, place, without_blanks
from crest.data.utf8 import AT_ONCE, pieces
from crest.errors import DataError

TYPES: Mapping[type, Any] = {bool: pl.Boolean, float: pl.Float64, int: pl.Int64, str: pl.String}
LARGEST = 2**63 - 1

Row = dict[str, Any]


@dataclass(frozen=True)
class JsonRows:
    """JSON lines, or one array: an object a row.

    ``key`` is the parameter that names the columns of texts.
    """

    key: str = TEXTS

    def columns(self, file: str) -> list[str]:
        """Name the keys of the first row."""
        with objects(file) as (rows, _):
            return [key for row in rows.take(1) for key in row]

    def labels(self, file: str, texts: Sequence[str], label: str) -> pl.Series:
        """Read the labels of a file, and check all of it.

        Raises
        ------
        DataError
            If the file is not well-formed, a row lacks a column, a text is none, or labels are of
            several types.
        """
        keys = keys_of(texts, label, self.key)
        labels = _Labels(file, label)
        for start, columns in _pieces(file, keys):
            for column in texts:
                _require_texts(file, column, start, columns[column], self.key)
            labels.append(columns[label], start)
        return without_blanks(labels.series().alias("label"))

    def texts(self, file: str, texts: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
        """Yield the text columns, a piece of consecutive rows at a time."""
        for start, columns in _pieces(file, keys_of(texts, key=self.key)):
            for name, cells in columns.items():
                _require_texts(file, name, start, cells, self.key)
            yield pl.DataFrame(columns, schema=dict.fromkeys(texts, pl.String))

    def at(self, file: str, row: int) -> str:
        """Name a row by its number and the line where it begins."""
        with objects(file) as (rows, _):
            while rows.row < row and rows.take(1):
                pass
            return place(row, rows.line)


class _Labels:
    """The labels of a file, of one type; the odd one out is named."""

    def __init__(self, file: str, column: str) -> None:
        self._file = file
        self._column = column
        self._parts: list[pl.Series] = []
        # For each type the number of labels, and row and value of the first.
        self._kinds: dict[type, tuple[int, int, Any]] = {}

    def append(self, values: Sequence[Any], start: int) -> None:
        """Add the labels of consecutive rows, the first of which is row ``start``."""
        kinds = list(map(type, values))
        for kind in set(kinds) - {type(None)}:
            first = kinds.index(kind)
            count, row, value = self._kinds.get(kind, (0, start + first, values[first]))
            self._kinds[kind] = count + kinds.count(kind), row, value
        if len(self._kinds) < 2:
            self._parts.append(self._series(values, start, next(iter(self._kinds), None)))

    def series(self) -> pl.Series:
        """Return all of them."""
        if len(self._kinds) > 1:
            raise self._mixed()
        if not self._parts:
            return pl.Series(self._column, [], pl.Null)
        return pl.concat([part.cast(self._parts[-1].dtype) for part in self._parts])

    def _series(self, values: Sequence[Any], start: int, kind: type | None) -> pl.Series:
        if kind is None:
            return pl.Series(self._column, values, pl.Null)
        refuse = _Refusal(self._file, self._column, start, values)
        if kind is int:
            refuse(lambda value: abs(value) > LARGEST, "is beyond 64 bits, as no class number is")
        if kind is float:
            refuse(math.isinf, "is beyond 64 bits, as no class number is")
        if kind is str:
            refuse.halves()
        if kind not in TYPES:
            refuse(lambda _: True, f"is {NAMES[kind]}, which no class is; set prepare.label_column")
        return pl.Series(self._column, values, TYPES[kind])

    def _mixed(self) -> DataError:
        """Return the error that names the first label of the rarest type, of such the last."""
        kind, (_, row, value) = min(self._kinds.items(), key=lambda item: (item[1][0], -item[1][1]))
        others = {other: count for other, (count, *_) in self._kinds.items() if other is not kind}
        usual = max(others, key=others.__getitem__)
        many = "as many" if others[usual] == self._kinds[kind][0] else "most"
        where = f"{self._file}, column '{self._column}', {_at(self._file, row)}"
        if isinstance(value, float) and math.isnan(value):
            return DataError(f"{where}: the label is NaN; label the row or remove it")
        return DataError(
            f"{where}: the label is {NAMES[kind]} ({json.dumps(value):.40}), {many} are "
            f"{NAMES[usual]}; write all the same way"
        )


class _Refusal:
    """Raises for the first of a column's cells that is wrong, nulls aside."""

    def __init__(self, file: str, column: str, start: int, cells: Sequence[Any]) -> None:
        self._file = file
        self._column = column
        self._start = start
        self._cells = cells

    def __call__(self, wrong: Callable[[Any], bool], why: str) -> None:
        for row, cell in enumerate(self._cells, self._start):
            if cell is not None and wrong(cell):
                raise DataError(
                    f"{self._file}, column '{self._column}', {_at(self._file, row)}: "
                    f"{json.dumps(cell):.40} {why}"
                )

    def halves(self) -> None:
        """Raise for a text that holds half of a surrogate pair, which stands for no character."""
        try:
            "".join(filter(None, self._cells)).encode()
        except UnicodeEncodeError:
            self(_has_half, "holds half of a surrogate pair, which is no character; correct it")


def _has_half(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _require_texts(file: str, column: str, start: int, cells: Sequence[Any], key: str) -> None:
    """Raise for the first cell that is no text."""
    refuse = _Refusal(file, column, start, cells)
    if not {str, type(None)}.issuperset(map(type, cells)):
        kind = next(kind for kind in map(type, cells) if kind not in (str, type(None)))
        refuse(
            lambda cell: not isinstance(cell, str),
            f"is {NAMES[kind]}, not text; write it in quotes, or set prepare.{key}",
        )
    refuse.halves()


def _pieces(file: str, keys: Mapping[str, str]) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    """Yield columns of consecutive rows, a piece at a time, with the number of the first row."""
    start = 0
    with objects(file) as (rows, checked):
        for columns in pieces(_columns(file, rows, keys), checked):
            yield start, columns
            start += len(next(iter(columns.values())))


def _columns(
    file: str, objects: Objects, keys: Mapping[str, str]
) -> Iterator[dict[str, Sequence[Any]]]:
    """Yield the columns of a few rows at a time."""
    start = 0
    while rows := objects.take(AT_ONCE):
        yield {name: _cells(file, rows, name, start, keys) for name in keys}
        start += len(rows)


def _cells(
    file: str, rows: Sequence[Row], column: str, start: int, keys: Mapping[str, str]
) -> list[Any]:
    """Return a column of some rows, each of which must have it once."""
    for row, found in enumerate(rows, start) if {dict} != set(map(type, rows)) else ():
        if isinstance(found, Repeating) and column in found.repeated:
            raise DataError(
                f"{file}, {_at(file, row)}: more than one '{column}'; keep one in each row"
            )
    try:
        return [row[column] for row in rows]
    except KeyError:
        row, found = next((n, row) for n, row in enumerate(rows, start) if column not in row)
        where = f"{file}, {_at(file, row)}"
        raise DataError(f"{no_column(where, column, list(found), keys)}, or write it") from None


def _at(file: str, row: int) -> str:
    return JsonRows().at(file, row)
