"""The report's page: everything in one HTML file that needs nothing else."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from crest.analysis import Analysis
from crest.comparison import percent, run_name, seconds
from crest.data.files import ImageMeta, Meta, open_array
from crest.difficulty import NEVER, hardest
from crest.errors import ArtifactError
from crest.figures import gallery, svg, thumbnail

TEMPLATES = Path(__file__).parent / "templates"
CARDS = 24


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
class Shown:
    """A picture drawn as inline SVG."""

    name: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Card:
    """One example on a contact sheet; ``image`` is a data URI."""

    index: int
    label: str
    facts: str
    image: str


@dataclass(frozen=True)
class Sheet:
    """A contact sheet of some of ``count`` examples."""

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
        If the images are missing or not those of the description.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "seconds": seconds}
    return environment.get_template("report.html.j2").render(
        title=page.title,
        meta=page.meta,
        rows=[row | {"name": run_name(row)} for row in page.summary.iter_rows(named=True)],
        findings=page.findings,
        pictures=_pictures(page),
        sheets=_sheets(page),
        settings=_settings(page.runs),
    )


def _pictures(page: Page) -> dict[str, list[Shown]]:
    parts: dict[str, list[Shown]] = {"curves": [], "difficulty": [], "regions": []}
    for picture in gallery(page.analysis, page.threshold):
        drawn = svg(picture.figure, picture.alt, picture.name)
        parts[picture.part].append(Shown(picture.name, drawn, picture.caption))
    return parts


def _sheets(page: Page) -> list[Sheet]:
    """Return the sheets that have an example to show; text has no images to show."""
    if not isinstance(page.meta, ImageMeta):
        return []
    images = _train_images(page, page.meta)
    return [
        Sheet(title, note, len(rows), [_card(row, page.meta, images) for row in shown])
        for title, note, rows, shown in _chosen(page.analysis.difficulty)
        if not rows.is_empty()
    ]


def _train_images(page: Page, meta: ImageMeta) -> np.ndarray[Any, Any]:
    images = open_array(page.prepared, "train", "images")
    expected = (meta.sizes["train"], *meta.image_shape)
    if images.shape != expected or images.dtype != np.uint8:
        raise ArtifactError(
            f"{page.prepared / 'train_images.npy'}: {images.dtype} {images.shape}, meta.json says "
            f"uint8 {expected}; run `python cli.py prepare` again"
        )
    return images


def _chosen(
    difficulty: pl.DataFrame,
) -> Iterator[tuple[str, str, pl.DataFrame, Sequence[Mapping[str, Any]]]]:
    hard = hardest(difficulty)
    yield (
        "Hardest",
        "Never classified rightly first, then the most often forgotten.",
        hard,
        _first(hard),
    )
    if difficulty.filter(pl.col("selected") > 0).is_empty():
        return
    often = difficulty.filter(pl.col("selected") > 0).sort(-pl.col("selected"), "index")
    yield "Most selected", "Most often picked into a mini-batch coreset.", often, _first(often)
    unpicked = difficulty.filter(pl.col("selected") == 0)
    yield "Never selected", "Spread evenly over the data.", unpicked, _spread(unpicked)
    left = difficulty.filter(pl.col("excluded_at") != NEVER).sort("excluded_at", "index")
    yield "Excluded early", "First to be left out as learned.", left, _first(left)


def _first(rows: pl.DataFrame) -> Sequence[Mapping[str, Any]]:
    return rows.head(CARDS).to_dicts()


def _spread(rows: pl.DataFrame) -> Sequence[Mapping[str, Any]]:
    shown = min(CARDS, len(rows))
    return rows[[place * len(rows) // shown for place in range(shown)]].to_dicts() if shown else []


def _card(row: Mapping[str, Any], meta: Meta, images: np.ndarray[Any, Any]) -> Card:
    label = row["label"]
    known = 0 <= label < len(meta.classes)
    encoded = b64encode(thumbnail(images[row["index"]])).decode("ascii")
    return Card(
        index=row["index"],
        label=meta.classes[label] if known else str(label),
        facts=_facts(row),
        image=f"data:image/png;base64,{encoded}",
    )


def _facts(row: Mapping[str, Any]) -> str:
    learned = "never learned" if row["first_learned"] == NEVER else f"forgotten {row['forgotten']}×"
    facts = [learned if row["seen"] else "not scored"]
    if row["selected"]:
        facts.append(f"selected {row['selected']}×")
    if row["excluded_at"] != NEVER:
        facts.append(f"out at step {row['excluded_at']:,}")
    return ", ".join(facts)


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
