"""The report's page: everything in one HTML file that needs nothing else."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crest.analysis.comparison import percent, run_name, seconds
from crest.analysis.difficulty import Group, notable
from crest.analysis.profile import profile
from crest.analysis.runs import Analysis
from crest.artifacts import NEVER
from crest.data.files import ImageMeta, Meta, TextMeta, open_array
from crest.errors import ArtifactError, needs_extra
from crest.figures import gallery, svg, thumbnail
from crest.figures.visible import visible
from crest.pipeline.texts import class_name, read_texts, taken_for_name

with needs_extra("pipeline"):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
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
        "for: the class that most of its wrong classifications name. This is an order, and no "
        "verdict: some will be rare or odd instead, and where no label is wrong all are. Look. "
        "artifacts/analyze/mislabelled.csv goes on where this ends.",
    ),
    "most_selected": ("Most selected", "Most often picked into a mini-batch coreset."),
    "never_selected": ("Never selected", "Spread evenly over the data."),
    "excluded": ("Excluded early", "First to be left out as learned."),
}


@dataclass(frozen=True)
class Page:
    """What the page shows; ``runs`` holds each run's run.json under the run's name."""

    title: str
    meta: Meta
    summary: pl.DataFrame
    findings: Sequence[str]
    analysis: Analysis
    threshold: float
    runs: Mapping[str, Mapping[str, Any]]
    prepared: Path


@dataclass(frozen=True)
class Drawing:
    """A picture drawn as inline SVG."""

    name: str
    svg: Markup
    caption: str


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


@dataclass(frozen=True)
class Setting:
    """A value of run.json by its full key; ``values`` holds one a run where they differ."""

    key: str
    values: Sequence[tuple[str, str]]


def render(page: Page) -> str:
    """Return the HTML of a page; whatever came from data is escaped.

    Raises
    ------
    ArtifactError
        If what the examples are is missing, or not that of the description.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "seconds": seconds}
    return environment.get_template("report.html.j2").render(
        title=page.title,
        meta=page.meta,
        rows=[row | {"name": run_name(row)} for row in page.summary.iter_rows(named=True)],
        findings=page.findings,
        profile=profile(page.analysis.difficulty, page.meta.classes),
        pictures=_pictures(page),
        sheets=_sheets(page),
        settings=_settings(page.runs),
    )


def _pictures(page: Page) -> dict[str, list[Drawing]]:
    parts: dict[str, list[Drawing]] = {
        "curves": [],
        "difficulty": [],
        "gradients": [],
        "regions": [],
    }
    for picture in gallery(page.analysis, page.threshold):
        drawn = svg(picture.figure, picture.alt, picture.name)
        parts[picture.part].append(Drawing(picture.name, drawn, picture.caption))
    return parts


def _sheets(page: Page) -> list[Sheet]:
    """Return the sheets that have an example to show."""
    groups = notable(page.analysis.difficulty)
    indices = [index for group in groups for index in group.rows["index"]]
    contents = CONTENTS[page.meta.kind](page, indices)
    return [
        Sheet(group.name, *SHEETS[group.name], group.count, _cards(group, page.meta, contents))
        for group in groups
    ]


def _cards(group: Group, meta: Meta, contents: Mapping[int, Content]) -> list[Card]:
    return [
        Card(
            row["index"],
            class_name(meta, row["label"]),
            [*_taken_for(row, group, meta), *_facts(row)],
            contents[row["index"]],
        )
        for row in group.rows.iter_rows(named=True)
    ]


def _taken_for(row: Mapping[str, Any], group: Group, meta: Meta) -> list[str]:
    """Name the class that a suspect is taken for."""
    if group.name != "mislabelled":
        return []
    name = taken_for_name(meta, row["taken_for"])
    return ["never taken for another" if name is None else f"taken for {name}"]


def _images(page: Page, indices: Sequence[int]) -> dict[int, Content]:
    assert isinstance(page.meta, ImageMeta)
    images = _train_images(page.prepared, page.meta)
    return {index: _data_uri(images[index]) for index in set(indices)}


def _train_images(folder: Path, meta: ImageMeta) -> np.ndarray[Any, Any]:
    images = open_array(folder, "train", "images")
    expected = (meta.sizes["train"], *meta.image_shape)
    if images.shape != expected or images.dtype != np.uint8:
        raise ArtifactError(
            f"{folder / 'train_images.npy'}: {images.dtype} {images.shape}, meta.json says "
            f"uint8 {expected}; run `python cli.py prepare` again"
        )
    return images


def _data_uri(image: np.ndarray[Any, Any]) -> str:
    return f"data:image/png;base64,{b64encode(thumbnail(image)).decode('ascii')}"


def _texts(page: Page, indices: Sequence[int]) -> dict[int, Content]:
    assert isinstance(page.meta, TextMeta)
    names = page.meta.text_columns
    texts = read_texts(page.prepared, page.meta, indices)
    return {
        index: [_passage(name, text) for name, text in zip(names, row, strict=True)]
        for index, row in texts.items()
    }


def _passage(name: str, text: str) -> Passage:
    cut = len(text) > LONGEST
    return Passage(name, text[:LONGEST], len(text) if cut else None)


def _printable(value: Any) -> Any:
    """Make whatever a template puts out something that a page can hold."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


# What of the examples at some indices the cards show, by kind of data; how, the template of that
# name says.
CONTENTS: Mapping[str, Callable[[Page, Sequence[int]], Mapping[int, Content]]] = {
    "image": _images,
    "text": _texts,
}


def _facts(row: Mapping[str, Any]) -> list[str]:
    learned = "never right" if row["first_learned"] == NEVER else f"forgotten {row['forgotten']}×"
    facts = [learned if row["seen"] else "not scored"]
    if row["seen"]:
        facts.append(f"right {row['correct']} of {row['seen']}")
        facts.append(f"loss {row['mean_loss']:.2f}")
    if row["el2n"] is not None:
        facts.append(f"EL2N {row['el2n']:.2f}")
    if row["selected"]:
        facts.append(f"selected {row['selected']}×")
    if row["excluded_at"] != NEVER:
        facts.append(f"out at step {row['excluded_at']:,}")
    return facts


def _settings(runs: Mapping[str, Mapping[str, Any]]) -> list[Setting]:
    """Put the runs' settings side by side: a value once where all runs agree."""
    flat = {name: dict(_flatten(values)) for name, values in runs.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    settings = []
    for key in keys:
        values = [(name, values[key]) for name, values in flat.items() if key in values]
        agree = len(values) == len(flat) and len({value for _, value in values}) == 1
        settings.append(Setting(key, [("", values[0][1])] if agree else values))
    return settings


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{key}", text
