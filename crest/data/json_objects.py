"""The objects of JSON lines and of JSON arrays, one after another: no file is held as a whole."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from json.decoder import JSONDecodeError, JSONDecoder
from json.scanner import make_scanner
from typing import Any, cast

from crest.data.text_format import place
from crest.data.utf8 import LINE_FEED, LONGEST, CheckedStream, opened
from crest.errors import DataError

BLOCK = 2**16  # characters
SPACES = " \t\n\r"
ENDS = ("\n", "", "\r\n")

# What the types of Python that JSON is read into are called in messages.
NAMES: dict[type, str] = {
    bool: "a boolean",
    dict: "an object",
    float: "a fraction",
    int: "a whole number",
    list: "a list",
    str: "text",
    type(None): "null",
}


class Repeating(dict[str, Any]):
    """An object that has keys several times, of which the last value counts for Python."""

    repeated: frozenset[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeating = Repeating(found)
    counts = Counter(name for name, _ in pairs)
    repeating.repeated = frozenset(name for name, count in counts.items() if count > 1)
    return repeating


DECODER = JSONDecoder(object_pairs_hook=_object)
SCAN = make_scanner(cast(Any, DECODER))  # what raw_decode calls, of which there is one for each row


class Objects:
    """The objects of an opened file; iterated once.

    ``row`` and ``line`` are those of the latest, ``row`` counted from 0, ``line`` from 1.
    """

    def __init__(self, file: str, stream: TextIOWrapper, is_array: bool) -> None:
        self.row = -1
        self.line = 0
        self._file = file
        self._stream = stream
        self._is_array = is_array
        self._objects = self._elements() if is_array else self._lines()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._objects

    def take(self, count: int) -> list[dict[str, Any]]:
        """Return the next objects, as many as there are up to a count."""
        return list(islice(self._objects, count))

    def _lines(self) -> Iterator[dict[str, Any]]:
        for text in self._stream:
            self.line += 1
            try:
                value, end = SCAN(text, 0)
                whole = text[end:] in ENDS
            except (StopIteration, ValueError, RecursionError):
                whole = False
            if not whole:
                text = text.rstrip(SPACES)
                if not text:
                    continue
                value, end = self._value(text, len(text) - len(text.lstrip(SPACES)))
                if end < len(text):
                    raise self._no_json(f"Extra data at character {end + 1}")
            yield self._checked(value)

    def _elements(self) -> Iterator[dict[str, Any]]:
        text = _Window(self._stream)
        self.line = 1 + text.skip()
        text.at += 1  # the bracket
        self.line += text.skip()
        if text.next() != "]":
            while True:
                value, end = self._element(text)
                yield self._checked(value)
                self.line += text.skip(end)
                mark = text.next()
                text.at += 1
                if mark == "]":
                    break
                if mark != ",":
                    raise self._no_json("Expecting ',' or ']' after an object")
                self.line += text.skip()
        else:
            text.at += 1
        text.skip()
        if text.next():
            raise self._no_json("Extra data after the array")

    def _element(self, text: "_Window") -> tuple[Any, int]:
        """Parse the value that begins the window, which is made longer until it holds it all."""
        while True:
            try:
                return DECODER.raw_decode(text.text, text.at)
            except (ValueError, RecursionError):
                if text.ended or len(text.text) - text.at > LONGEST:
                    return self._value(text.text, text.at)
            text.lengthen()

    def _value(self, text: str, start: int) -> tuple[Any, int]:
        try:
            return DECODER.raw_decode(text, start)
        except JSONDecodeError as error:
            self.line += text.count("\n", start, error.pos)
            where = "" if self._is_array else f" at character {error.colno}"
            raise self._no_json(f"{error.msg}{where}") from None
        except RecursionError:
            raise self._no_json("nested too deeply") from None
        except ValueError:
            raise self._no_json("a number of too many digits") from None

    def _checked(self, value: Any) -> dict[str, Any]:
        self.row += 1
        if not isinstance(value, dict):
            raise DataError(
                f"{self._file}, {place(self.row, self.line)}: {NAMES[type(value)]}, not an object "
                "with the columns as its keys; write each row as an object"
            )
        return value

    def _no_json(self, reason: str) -> DataError:
        return DataError(
            f"{self._file}, {place(self.row + 1, self.line)}: no JSON ({reason}); write an object "
            "a line, or one array of objects"
        )


class _Window:
    """The part of a stream that is parsed, from ``at`` on."""

    def __init__(self, stream: TextIOWrapper) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        self._stream = stream

    def lengthen(self) -> None:
        """Read on, as much again as there is; what lies before ``at`` is dropped."""
        more = self._stream.read(max(BLOCK, len(self.text) - self.at))
        self.ended = not more
        self.text = self.text[self.at :] + more
        self.at = 0

    def skip(self, to: int | None = None) -> int:
        """Go on to a place, and over white space from there; returns how many lines that was."""
        start = self.at
        self.at = start if to is None else to
        lines = self.text.count("\n", start, self.at)
        while True:
            rest = self.text[self.at : self.at + BLOCK]
            spaces = len(rest) - len(rest.lstrip(SPACES))
            lines += rest.count("\n", 0, spaces)
            self.at += spaces
            if spaces < len(rest) or self.ended:
                return lines
            if self.at == len(self.text):
                self.lengthen()

    def next(self) -> str:
        """Return the current character; none at the end."""
        return self.text[self.at : self.at + 1]


@contextmanager
def objects(file: str) -> Iterator[tuple[Objects, CheckedStream]]:
    """Open a file of JSON for its objects.

    Raises
    ------
    DataError
        Also while they are read: if it is no JSON, or holds anything else than objects.
    """
    with opened(file) as (stream, _):
        is_array = stream.read(BLOCK).lstrip(SPACES).startswith("[")
    with opened(file, () if is_array else LINE_FEED) as (stream, checked):
        yield Objects(file, stream, is_array), checked
