"""What the files of a source call its classes, and labels translated from one to another.

A file that `datasets` wrote names its classes in the order of their numbers (ClassLabel). Files
made apart may name them in another order, or lack some, so a number means what its file says.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from crest.data.label_types import Place
from crest.data.sources import some
from crest.errors import DataError

Names = tuple[str, ...]

# Marks without width or meaning, which copying from a web page or a spreadsheet leaves in names.
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad"))


def class_names(metadata: Mapping[str, str], column: str, file: str) -> Names | None:
    """Read the classes' names from the 'huggingface' metadata of a file; None if there are none.

    Raises
    ------
    DataError
        If the metadata cannot be read, or a name is no text or occurs twice.
    """
    if "huggingface" not in metadata:
        return None
    try:
        feature = json.loads(metadata["huggingface"])["info"]["features"][column]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError):
        return None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(
            f"{file}: its metadata 'huggingface', which names the classes, cannot be read "
            f"({reason}); write the file again, with or without it"
        ) from None
    if not names or not isinstance(names, list):
        return None
    for number, name in enumerate(names):
        if not isinstance(name, str) or not is_text(name):
            raise DataError(f"{file}: class {number} is named {name!r:.40}, which is no text; {GO}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{file}: two classes are named {display_name(twice[0])}; {GO}")
    return tuple(names)


GO = "correct its metadata 'huggingface'"


def is_text(name: str) -> bool:
    """Whether a string can be written, which halves of surrogate pairs cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


class Naming:
    """The classes of a source as its training files name them, and each file's own names.

    ``classes`` and ``notes`` are known once the training split was read, which must come first.
    """

    def __init__(self) -> None:
        self.classes: Names | None = None
        self.notes: list[str] = []
        self._read = False

    def read(self, split: str, named: Mapping[str, Names | None]) -> tuple[Names | None, ...]:
        """Take note of what the files of a split, by their paths, name the classes."""
        known = [names for names in named.values() if names]
        if not self._read:
            self.classes = common_names(known)
        self._read = True
        if self.classes and any(names != self.classes for names in known):
            self.notes.append(
                f"{split}: some files number the classes in another order; their labels were "
                "translated by the classes' names"
            )
        return tuple(named.values())


def common_names(named: Sequence[Names]) -> Names | None:
    """Return one list of the names in several files, whichever file comes first.

    Where they differ it is the one that has all names, else all of them in alphabetical order.
    """
    every = set().union(*named)
    whole = {names for names in named if len(names) == len(every)}
    return whole.pop() if len(whole) == 1 else tuple(sorted(every)) or None


def translated(
    labels: pl.Series, own: Names | None, classes: Names | None, place: Place
) -> pl.Series:
    """Return a file's numbers as those of ``classes``, by the names that it gives them itself.

    Negative numbers, which stand for none, and strings stay.

    Raises
    ------
    DataError
        If a label is none of the file's own classes, or of ``classes``.
    """
    if not own or not classes or own == classes or labels.dtype == pl.String:
        return labels
    numbers = labels.fill_null(-1).to_numpy()
    _refuse(numbers >= len(own), numbers, place, f"outside the {len(own)} classes the file names")
    spellings = Spellings(classes)
    table = np.array([spellings.number(name) for name in own])
    found = np.where(numbers < 0, 0, table[np.maximum(numbers, 0)])
    rows = np.flatnonzero(found < 0)
    if rows.size:
        row = int(rows[0])
        raise DataError(f"{place(row)}: {spellings.unknown(own[numbers[row]])}")
    result = pl.Series(labels.name, np.where(numbers < 0, numbers, found), dtype=pl.Int64)
    return result.set(labels.is_null(), None)


def _refuse(wrong: np.ndarray, numbers: np.ndarray, place: Place, what: str) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        raise DataError(
            f"{place(int(rows[0]))}: the label is {numbers[rows[0]]}, {what}; correct it"
        )


# ---------------------------------------------------------------------------- ways to write a name


def spelling_key(name: str) -> str:
    """Return what is the same for names that differ in Unicode form or white space only."""
    return " ".join(unicodedata.normalize("NFC", name.translate(INVISIBLE)).split()) or name


def found_names(labels: Iterable[str]) -> tuple[list[str], list[str]]:
    """Name the classes that labels are of, in alphabetical order; notes on what was joined."""
    spellings: dict[str, list[str]] = {}
    for label in sorted(labels):
        spellings.setdefault(spelling_key(label), []).append(label)
    names = sorted(key if len(each) > 1 else each[0] for key, each in spellings.items())
    notes = [
        f"labels {', '.join(map(display_name, each))} are taken for one class: they differ in "
        "white space or Unicode form only"
        for each in spellings.values()
        if len(each) > 1
    ]
    return names, notes


class Spellings:
    """The numbers of classes by their names, however those are written."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._exact = {name: number for number, name in enumerate(classes)}
        keys = Counter(map(spelling_key, classes))
        self._by_key = {
            spelling_key(name): number
            for number, name in enumerate(classes)
            if keys[spelling_key(name)] == 1
        }

    def number(self, name: str) -> int:
        """Return the number of the class of a name, -1 if there is none."""
        exact = self._exact.get(name)
        return self._by_key.get(spelling_key(name), -1) if exact is None else exact

    def unknown(self, name: str) -> str:
        """Say that a label is no class, in a way that shows why."""
        same_but_case = [known for known in self._classes if known.casefold() == name.casefold()]
        hint = f" (is it {display_name(same_but_case[0])}?)" if same_but_case else ""
        return (
            f"the label is {quoted(name)}, none of the classes{hint}: "
            f"{some([display_name(known) for known in self._classes])}; correct it"
        )


def display_name(name: str) -> str:
    """Show a name in a message, escaped where people could not tell it from another."""
    is_plain = name.isprintable() and spelling_key(name) == name
    return f"{name:.80}" if is_plain else f"{name!a:.120}"


def quoted(name: str) -> str:
    """Return a name as :func:`display_name` does, in quotation marks."""
    text = display_name(name)
    return text if text.startswith(("'", '"')) else f"'{text}'"


def near_duplicates(classes: Sequence[str]) -> list[str]:
    """Notes on classes whose names are easily taken for one another."""
    for what, key in (("white space or Unicode form", spelling_key), ("case", str.casefold)):
        groups: dict[str, list[str]] = {}
        for name in classes:
            groups.setdefault(key(name), []).append(name)
        pairs = [" and ".join(map(display_name, each)) for each in groups.values() if len(each) > 1]
        if pairs:
            return [f"classes that differ in {what} only: {some(pairs, 3)}"]
    return []
