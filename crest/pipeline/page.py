"""The report's page: everything in one HTML file that needs nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from crest.analysis.comparison import SAME_LOAD, percent, run_name, seconds, signed
from crest.analysis.confusion import MOST_CLASSES, by_class, matrix, most_confused
from crest.analysis.difficulty import notable
from crest.analysis.profile import profile
from crest.analysis.runs import Analysis
from crest.analysis.seeds import HEADS, seed_cells
from crest.data.files import Meta
from crest.errors import needs_extra
from crest.figures import Picture, gallery, svg
from crest.figures.visible import visible
from crest.methods import METHODS
from crest.pipeline.sheets import sheets

with needs_extra("pipeline"):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """What the page shows; ``runs`` holds each run's run.json under the run's name.

    ``sentences`` say what the table says, ``cautions`` how far it bears, ``explained`` why pictures
    of a part (gradients, regions) look as they do.
    """

    title: str
    headline: str
    meta: Meta
    summary: pl.DataFrame
    sentences: Sequence[str]
    cautions: Sequence[str]
    explained: Mapping[str, Sequence[str]]
    analysis: Analysis
    threshold: float
    runs: Mapping[str, Mapping[str, Any]]
    prepared: Path
    seeds: pl.DataFrame
    predictions: Mapping[str, pl.DataFrame]
    made: datetime


@dataclass(frozen=True)
class Drawing:
    """A picture drawn as inline SVG."""

    name: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Setting:
    """A value of run.json by its full key; ``values`` holds one a run where they differ."""

    key: str
    values: Sequence[tuple[str, str]]


def _environment() -> Environment:
    """Return what fills templates; whatever came from data is escaped."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"percent": percent, "seconds": seconds, "signed": signed}
    return made


def render(page: Page) -> str:
    """Return the HTML of a page; whatever came from data is escaped.

    Raises
    ------
    ArtifactError
        If what the examples are is missing, or not that of the description.
    """
    template = _environment().get_template("report.html.j2")
    return template.render(
        title=page.title,
        meta=page.meta,
        rows=[row | {"name": run_name(row)} for row in page.summary.iter_rows(named=True)],
        headline=page.headline,
        sentences=page.sentences,
        same_load=SAME_LOAD,
        cautions=page.cautions,
        explained=page.explained,
        seed_heads=HEADS,
        seeds=[seed_cells(row) for row in page.seeds.iter_rows(named=True)],
        profile=profile(page.analysis.difficulty, page.meta.classes),
        pictures=_pictures(page),
        selects=len(page.analysis.regions) > 0,
        has_checks=page.analysis.regions["rho"].null_count() < len(page.analysis.regions),
        has_gradients=len(page.analysis.gradient_errors) > 0,
        drops="excluded" in {group.name for group in notable(page.analysis.difficulty)},
        **_examples(page.analysis.difficulty, page.meta, page.prepared),
        settings=_settings(_of_what_was_run(page.runs)),
        made=f"{page.made:%d %B %Y, %H:%M} {page.made:%Z}",
        full_was_run="full" in page.summary["method"],
        most_classes=MOST_CLASSES,
        **_mistakes(page),
    )


def render_records(
    title: str,
    difficulty: pl.DataFrame,
    pictures: Sequence[Picture],
    meta: Meta | None,
    prepared: Path,
) -> str:
    """Return the HTML of what was recorded of examples; whatever came from data is escaped.

    Parameters
    ----------
    difficulty
        'difficulty' table.
    meta, prepared
        As of :func:`sheets`.

    Raises
    ------
    ArtifactError
        As :func:`sheets`.
    """
    template = _environment().get_template("difficulty.html.j2")
    return template.render(
        title=title,
        kind="plain" if meta is None else meta.kind,
        meta=meta,
        count=len(difficulty),
        profile=profile(difficulty, [] if meta is None else meta.classes),
        pictures=[_drawing(picture) for picture in pictures],
        **_examples(difficulty, meta, prepared),
    )


def _examples(difficulty: pl.DataFrame, meta: Meta | None, prepared: Path) -> dict[str, Any]:
    found = sheets(difficulty, meta, prepared)
    return {"sheets": found.sheets, "sources": found.sources}


def _mistakes(page: Page) -> dict[str, Any]:
    """Return what the page says of classes: each one's accuracies, and what it is taken for.

    The most accurate method comes first.
    """
    names = page.meta.classes
    matrices = {name: matrix(table, len(names)) for name, table in page.predictions.items()}
    return {
        "methods": list(matrices),
        "confused_by": sorted(matrices, key=lambda name: -int(matrices[name].trace())),
        "by_class": by_class(matrices, names),
        "matrices": {name: counts.tolist() for name, counts in matrices.items()},
        "confused": {name: most_confused(counts, names) for name, counts in matrices.items()},
    }


def _of_what_was_run(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return what runs were made from, without the parameters of methods that none of them is."""
    others = METHODS.keys() - {run.get("method") for run in runs.values()}
    return {
        name: {
            **run,
            "parameters": {
                section: values
                for section, values in dict(run.get("parameters") or {}).items()
                if section not in others
            },
        }
        for name, run in runs.items()
    }


def _pictures(page: Page) -> dict[str, list[Drawing]]:
    """Draw what each section shows; gradients and regions share one, the likelier seen first."""
    parts: dict[str, list[Drawing]] = {"curves": [], "difficulty": [], "coresets": []}
    for picture in gallery(page.analysis, page.threshold):
        part = picture.part if picture.part in parts else "coresets"
        parts[part].append(_drawing(picture))
    return parts


def _drawing(picture: Picture) -> Drawing:
    drawn = svg(picture.figure, picture.alt, picture.name)
    return Drawing(picture.name, drawn, picture.caption)


def _printable(value: Any) -> Any:
    """Make whatever a template puts out something that a page can hold."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


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
