"""report: what each method cost and gained, as JSON, CSV and one self-contained page."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from crest import artifacts
from crest.analysis import Analysis
from crest.comparison import SUMMARY, findings, format_table, summarise
from crest.config import Parameters
from crest.data.files import Meta, read_meta
from crest.errors import ArtifactError
from stages.analyze import read_analysis, read_csv
from stages.page import Page, render
from stages.paths import REPORTED, Paths

__all__ = ["format_table", "read_summary", "run"]

logger = logging.getLogger(__name__)

COMPONENTS = ("select", "model", "check", "train")


def run(parameters: Parameters, paths: Paths) -> pl.DataFrame:
    """Write artifacts/report (summary.json, summary.csv, report.html); returns the summary.

    One row for each of train.methods, and one for each of reuse.models that has been trained on
    saved coresets; a model that has not is left out, and a message says so.

    Raises
    ------
    ArtifactError
        If a run, its evaluation, the analysis or prepared data are missing, damaged, or of other
        data than the rest.
    """
    meta = read_meta(paths.prepared)
    folders = {method: paths.train(method) for method in parameters.train.methods}
    rows = [_method_row(paths, method) for method in folders]
    for model in parameters.reuse.models:
        folder = paths.reuse(model)
        if not folder.is_dir():
            logger.warning("report: %s: not there, %s is left out", folder, model)
            continue
        folders[f"reuse: {model}"] = folder
        rows.append(_reuse_row(folder, model))
    runs = {name: _read_run(folder, meta) for name, folder in folders.items()}
    summary = summarise(rows)
    page = Page(
        title=parameters.report.title,
        meta=meta,
        summary=summary,
        findings=_findings(summary, runs, parameters, meta),
        analysis=_read_analysis(paths, meta),
        threshold=parameters.crest.threshold,
        runs=runs,
        prepared=paths.prepared,
    )
    html = render(page)
    with artifacts.replacing_folder(paths.report, REPORTED) as folder:
        artifacts.write_json(folder / "summary.json", _as_json(summary))
        summary.write_csv(folder / "summary.csv")
        (folder / "report.html").write_text(html, encoding="utf-8")
    return summary


def read_summary(paths: Paths) -> pl.DataFrame:
    """Read the summary of the last report; :class:`ArtifactError` if missing or damaged."""
    again = "make it with `python cli.py report`"
    return read_csv(paths.report / "summary.csv", SUMMARY, again)


def _method_row(paths: Paths, method: str) -> dict[str, Any]:
    """Read what a method's training cost and what its evaluation says."""
    for folder, stage in ((paths.train(method), "train"), (paths.evaluate(method), "evaluate")):
        if not folder.is_dir():
            raise ArtifactError(
                f"{folder}: not there; make it with `python cli.py {stage} --method {method}`, "
                "or take it out of train.methods"
            )
    trained = paths.train(method) / artifacts.METRICS
    evaluated = paths.evaluate(method) / artifacts.METRICS
    shown = artifacts.read_json(evaluated)
    return {
        **_cost(trained),
        "method": method,
        "reused": False,
        "accuracy": _number(shown, "accuracy", evaluated),
        "loss": _number(shown, "loss", evaluated),
    }


def _reuse_row(folder: Path, model: str) -> dict[str, Any]:
    path = folder / artifacts.METRICS
    metrics = artifacts.read_json(path)
    return {
        **_cost(path),
        "method": "replay",
        "model": model,
        "reused": True,
        "accuracy": _number(metrics, "accuracy", path),
        "loss": _number(metrics, "loss", path),
    }


def _cost(path: Path) -> dict[str, Any]:
    metrics = artifacts.read_json(path)
    parts = metrics.get("seconds")
    if not isinstance(parts, dict):
        raise ArtifactError(f"{path}: lacks 'seconds' by part; make it again")
    return {
        "model": _short(str(metrics.get("model", ""))),
        "budget": _number(metrics, "budget", path),
        "steps": int(_number(metrics, "steps", path)),
        "examples_trained": int(_number(metrics, "examples_trained", path)),
        "seconds": _number(metrics, "seconds_train", path),
        "updates": int(_number(metrics, "regions", path)),
        **{
            f"seconds_{part}": _number(parts, part, path) if part in parts else None
            for part in COMPONENTS
        },
    }


def _short(model: str) -> str:
    """Return the name of a model, of a local folder its last part."""
    return Path(model).name if Path(model).is_absolute() else model


def _number(values: Mapping[str, Any], key: str, path: Path) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArtifactError(f"{path}: '{key}' must be a number, it is {value!r:.40}; make it again")
    return float(value)


def _read_run(folder: Path, meta: Meta) -> dict[str, Any]:
    """Read run.json and check that the run is of the prepared data."""
    path = folder / artifacts.RUN
    values = artifacts.read_json(path)
    data = values.get("data")
    content = data.get("content_hash") if isinstance(data, dict) else None
    if content is not None and content != meta.content_hash:
        raise ArtifactError(
            f"{path}: trained on other data than data/prepared holds now; train it again"
        )
    return values


def _read_analysis(paths: Paths, meta: Meta) -> Analysis:
    if not paths.analyze.is_dir():
        raise ArtifactError(f"{paths.analyze}: not there; make it with `python cli.py analyze`")
    analysis = read_analysis(paths.analyze)
    if len(analysis.difficulty) != meta.sizes["train"]:
        raise ArtifactError(
            f"{paths.analyze}: of {len(analysis.difficulty)} examples, prepared are "
            f"{meta.sizes['train']}; make it again with `python cli.py analyze`"
        )
    return analysis


def _findings(
    summary: pl.DataFrame, runs: Mapping[str, Mapping[str, Any]], parameters: Parameters, meta: Meta
) -> list[str]:
    seeds = {_seed(values, parameters.train.seed) for values in runs.values()}
    devices = {json.dumps(values.get("device"), sort_keys=True) for values in runs.values()}
    sentences = findings(summary, sorted(seeds), meta.sizes["test"])
    if len(devices) > 1:
        sentences.append(
            "The runs were not all made on the same device or in the same precision, so their "
            "seconds cannot be compared."
        )
    return sentences


def _seed(values: Mapping[str, Any], default: int) -> int:
    section = values.get("parameters", {}).get("train", {})
    return int(section.get("seed", default))


def _as_json(summary: pl.DataFrame) -> dict[str, Any]:
    """Name every row: ``methods.METHOD.accuracy``, ``reuse.MODEL.accuracy``."""
    document: dict[str, Any] = {"methods": {}, "reuse": {}}
    for row in summary.iter_rows(named=True):
        group, name = ("reuse", "model") if row["reused"] else ("methods", "method")
        document[group][row[name]] = {key: row[key] for key in SUMMARY if key != "reused"}
    return document
