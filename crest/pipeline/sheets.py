"""Contact sheets: the examples that a page shows, with what is known of each."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crest.analysis.difficulty import Group, notable
from crest.artifacts import NEVER
from crest.data.files import ImageMeta, Meta, TextMeta
from crest.data.origins import columns_in
from crest.data.stored_images import open_images
from crest.figures import thumbnail
from crest.pipeline.texts import class_name, read_texts, taken_for_name

LONGEST = 400  # characters printed of a text
OPEN = ("hardest", "mislabelled")  # sheets that are seen at once
FIRST = {"image": 12, "text": 6, "plain": 12}  # cards of them that are

# Title and note of each group of examples.
SHEETS = {
    "hardest": (
        "Hardest",
        "Most often forgotten: right at one time and wrong at the next; of equal ones the highest "
        "mean losses. What was always wrong was never forgotten, see below.",
    ),
    "mislabelled": (
        "Likely mislabelled",
        "The highest mean losses over training first, for wrong labels are learned last. Some will "
        "be rare or odd instead, and where no label is wrong all are. mislabelled.csv goes on "
        "where this ends.",
    ),
    "most_selected": ("Most selected", "Most often picked into a mini-batch coreset."),
    "never_selected": ("Never selected", "Spread evenly over the data."),
    "excluded": ("Excluded early", "First to be left out as learned."),
}


@dataclass(frozen=True)
class Passage:
    """A text as it is printed; ``length`` is that of the whole, where only its start is."""

    name: str
    text: str
    length: int | None


# What a card shows of an example: the data URI of an image, or its texts.
Content = str | list[Passage]


@dataclass(frozen=True)
class Card:
    """One example on a contact sheet; ``source`` is its file and row, below what all share."""

    index: int
    label: str
    facts: Sequence[str]
    content: Content
    source: str


@dataclass(frozen=True)
class Sheet:
    """A contact sheet of some of ``count`` examples.

    A folded one is seen when it is asked for; of the others so are the cards after the first few.
    """

    name: str
    title: str
    note: str
    count: int
    cards: Sequence[Card]
    folded: bool
    first: int


@dataclass(frozen=True)
class Sheets:
    """All contact sheets; ``sources`` says what the files of all examples on them share."""

    sheets: Sequence[Sheet]
    sources: str


def sheets(difficulty: pl.DataFrame, meta: Meta | None, prepared: Path) -> Sheets:
    """Return the sheets that have an example to show.

    Parameters
    ----------
    difficulty
        'difficulty' table, with the columns of :mod:`crest.data.origins` if they are known.
    meta, prepared
        Of the prepared data and their folder; None where there are none: numbers alone.

    Raises
    ------
    ArtifactError
        If what the examples are is missing, or not that of the description.
    """
    groups = notable(difficulty)
    indices = [index for group in groups for index in group.rows["index"]]
    contents = {} if meta is None else CONTENTS[meta.kind](prepared, meta, indices)
    shared = _shared([file for group in groups for file in _files(group)])
    first = FIRST[meta.kind if meta else "plain"]
    made = [
        Sheet(
            group.name,
            SHEETS[group.name][0],
            f"{SHEETS[group.name][1]}{_chances(group)}{_ties(group)}",
            group.count,
            _cards(group, meta, contents, shared),
            group.name not in OPEN,
            first,
        )
        for group in groups
    ]
    return Sheets(made, _in_words(shared))


def _chances(group: Group) -> str:
    """Say what the percentage on the cards of suspects is, where there is one."""
    if group.name != "mislabelled" or group.rows["wrong_label"].is_null().all():
        return ""
    return " The percentage is how likely the label is wrong, by estimate."


def _ties(group: Group) -> str:
    """Say of how many equal ones chance listed some."""
    if not group.tied:
        return ""
    return f" Of {group.tied:,} that are equal where the list ends, chance took {group.drawn:,}."


def _files(group: Group) -> list[str]:
    return group.rows["file"].to_list() if columns_in(group.rows) else []


def _shared(files: Sequence[str]) -> str:
    """Return what all files begin with: one file, or a folder; nothing if they share none."""
    if len(set(files)) < 2:
        return "".join(files[:1])
    pairs = zip(min(files), max(files), strict=False)
    common = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return common[: common.rfind("/") + 1]


def _in_words(shared: str) -> str:
    if not shared or shared == "/":
        return ""
    if shared.endswith("/"):
        return f"Files are in {shared}; their rows are counted from 0."
    return f"Row: of {shared}, counted from 0."


def _source(row: Mapping[str, Any], shared: str) -> str:
    """Name an example's file below the shared folder, and its row; nothing if not known."""
    if row.get("file") is None:
        return ""
    file = row["file"].removeprefix(shared)
    place = "" if row["row"] is None else f"row {row['row']:,}"
    return ", ".join(filter(None, (file, place))) or row["file"]


def _cards(
    group: Group, meta: Meta | None, contents: Mapping[int, Content], shared: str
) -> list[Card]:
    return [
        Card(
            row["index"],
            class_name(meta, row["label"]) or "",
            [*_taken_for(row, group, meta), *_facts(row)],
            contents.get(row["index"], ""),
            _source(row, shared),
        )
        for row in group.rows.iter_rows(named=True)
    ]


def _taken_for(row: Mapping[str, Any], group: Group, meta: Meta | None) -> list[str]:
    """Name the class that it is taken for, and of a suspect how likely its label is wrong."""
    name = taken_for_name(meta, row["taken_for"])
    facts = [] if name is None else [f"taken for {name}"]
    if group.name != "mislabelled":
        return facts
    if name is None and row["taken_for"] is not None:
        facts.append("never taken for another")
    if row["wrong_label"] is not None:
        facts.append(f"wrong: {row['wrong_label']:.0%}")
    return facts


def _images(prepared: Path, meta: Meta, indices: Sequence[int]) -> dict[int, Content]:
    assert isinstance(meta, ImageMeta)
    images = open_images(prepared, "train", meta)
    return {index: _data_uri(images[index]) for index in set(indices)}


def _data_uri(image: np.ndarray[Any, Any]) -> str:
    return f"data:image/png;base64,{b64encode(thumbnail(image)).decode('ascii')}"


def _texts(prepared: Path, meta: Meta, indices: Sequence[int]) -> dict[int, Content]:
    assert isinstance(meta, TextMeta)
    names = meta.text_columns
    texts = read_texts(prepared, meta, indices)
    return {
        index: [_passage(name, text) for name, text in zip(names, row, strict=True)]
        for index, row in texts.items()
    }


def _passage(name: str, text: str) -> Passage:
    cut = len(text) > LONGEST
    return Passage(name, text[:LONGEST], len(text) if cut else None)


# What of the examples at some indices the cards show, by kind of data; how, the template of that
# name says.
CONTENTS: Mapping[str, Callable[[Path, Meta, Sequence[int]], Mapping[int, Content]]] = {
    "image": _images,
    "text": _texts,
}


def _learned(row: Mapping[str, Any]) -> str:
    if row["forgotten"] is None:
        return f"seen {row['seen']}×"
    return "never right" if row["first_learned"] == NEVER else f"forgotten {row['forgotten']}×"


def _facts(row: Mapping[str, Any]) -> list[str]:
    facts = [_learned(row) if row["seen"] else "not scored"]
    if row["seen"]:
        if row["correct"] is not None:
            facts.append(f"right {row['correct']} of {row['seen']}")
        facts.append(f"loss {row['mean_loss']:.2f}")
    if row["el2n"] is not None:
        facts.append(f"EL2N {row['el2n']:.2f}")
    if row["selected"]:
        facts.append(f"selected {row['selected']}×")
    if row["excluded_at"] != NEVER:
        facts.append(f"out at step {row['excluded_at']:,}")
    return facts
