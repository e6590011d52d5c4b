"""Contact sheets: the examples that a page shows, with what is known of each."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crest.analysis.difficulty import Group, notable
from crest.artifacts import NEVER
from crest.data.files import ImageMeta, Meta, TextMeta
from crest.data.stored_images import open_images
from crest.figures import thumbnail
from crest.pipeline.texts import class_name, read_texts, taken_for_name

LONGEST = 400  # characters printed of a text

# Title and note of each group of examples.
SHEETS = {
    "hardest": (
        "Hardest",
        "Most often forgotten: right at one time and wrong at the next. What was always wrong was "
        "never forgotten, see below.",
    ),
    "mislabelled": (
        "Likely mislabelled",
        "The highest mean losses over training first, for wrong labels are learned last. Taken "
        "for: the class that most of its wrong classifications name. The percentage is how likely "
        "the label is wrong, by estimate: some will be rare or odd instead, and where no label is "
        "wrong all are. Look. "
        "mislabelled.csv, of the analysis, goes on where this ends.",
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
    """One example on a contact sheet."""

    index: int
    label: str
    facts: Sequence[str]
    content: Content


@dataclass(frozen=True)
class Sheet:
    """A contact sheet of some of ``count`` examples."""

    name: str
    title: str
    note: str
    count: int
    cards: Sequence[Card]


def sheets(difficulty: pl.DataFrame, meta: Meta | None, prepared: Path) -> list[Sheet]:
    """Return the sheets that have an example to show.

    Parameters
    ----------
    difficulty
        'difficulty' table.
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
    return [
        Sheet(group.name, *SHEETS[group.name], group.count, _cards(group, meta, contents))
        for group in groups
    ]


def _cards(group: Group, meta: Meta | None, contents: Mapping[int, Content]) -> list[Card]:
    return [
        Card(
            row["index"],
            class_name(meta, row["label"]) or "",
            [*_taken_for(row, group, meta), *_facts(row)],
            contents.get(row["index"], ""),
        )
        for row in group.rows.iter_rows(named=True)
    ]


def _taken_for(row: Mapping[str, Any], group: Group, meta: Meta | None) -> list[str]:
    """Name the class that a suspect is taken for, and how likely its label is wrong."""
    if group.name != "mislabelled":
        return []
    facts = []
    if row["taken_for"] is not None:
        name = taken_for_name(meta, row["taken_for"])
        facts.append("never taken for another" if name is None else f"taken for {name}")
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
