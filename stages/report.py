"""report: what each method cost and gained, as JSON, CSV and one self-contained page."""

import json
import logging
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from crest import artifacts
from crest.analysis.comparison import (
    SUMMARY,
    against_random,
    cautions,
    findings,
    format_table,
    summarise,
)
from crest.analysis.explained import ends_above_threshold, farther_than_random, throughout
from crest.analysis.headline import headline
from crest.analysis.runs import Analysis
from crest.analysis.seeds import SEEDS, format_seeds, over_seeds, verdict
from crest.config import Parameters
from crest.data.files import Meta, read_meta
from crest.errors import ArtifactError
from crest.methods.crest import CrestParameters
from crest.parameters.sections import TrainParameters
from crest.pipeline import manifest
from crest.pipeline.analysis_files import AGAIN, read_analysis, read_csv
from crest.pipeline.manifest import Manifest
from crest.pipeline.model_names import model_names
from crest.pipeline.page import Page, render
from crest.pipeline.paths import REPORTED, Paths
from crest.pipeline.seeds import check_seeds
from crest.samplers.sizes import count_of
from crest.selection.unweighted import UNWEIGHTED

__all__ = ["format_seeds", "format_table", "read_seeds", "read_summary", "run", "verdicts"]

logger = logging.getLogger(__name__)

# Parameters of train that runs may differ in: another model, or what only watches.
PER_RUN = {"model", "seed", "snapshots", "validations"}
COMPONENTS = ("select", "model", "check", "label_noise", "train")


def run(parameters: Parameters, paths: Paths) -> pl.DataFrame:
    """Write artifacts/report (summary.json, summary.csv, seeds.csv, report.html).

    Returns the summary.

    One row for each of run.methods, and one for each of reuse.models that has been trained on
    saved coresets; a model that has not is left out, as is a run with one of run.seeds that is not
    there, and a message says so.

    Raises
    ------
    ArtifactError
        If a run, its evaluation, the analysis or prepared data are missing, damaged, or of other
        data than the rest.
    """
    meta = read_meta(paths.prepared)
    folders = {method: paths.train(method) for method in parameters.run.methods}
    there = {method: folder for method, folder in folders.items() if folder.is_dir()}
    manifest.of_trainings(there, meta)
    rows = [_method_row(paths, method, meta) for method in folders]
    for model in parameters.reuse.models:
        folder = paths.reuse(model)
        if not folder.is_dir():
            logger.warning("report: %s: not there, %s is left out", folder, model)
            continue
        folders[f"reuse: {model}"] = folder
        rows.append(_reuse_row(paths, model, meta))
    runs = {name: artifacts.read_json(path / artifacts.RUN) for name, path in folders.items()}
    names = model_names(row["model"] for row in rows)
    summary = summarise([row | {"model": names[row["model"]]} for row in rows])
    seeds, repeats = _over_seeds(parameters, paths, meta, rows, runs)
    analysis = _read_analysis(paths, parameters.run.methods, meta)
    predictions = {name: _predictions(paths, name, meta) for name in parameters.run.methods}
    page = Page(
        title=parameters.report.title,
        headline=headline(summary, seeds, meta.sizes["test"]),
        meta=meta,
        summary=summary,
        sentences=findings(summary, meta.sizes["test"], _verdicts(summary, seeds, meta)),
        cautions=[
            *_cautions(summary, runs, repeats, parameters, meta, len(seeds) > 0),
            *_choices(analysis, runs),
        ],
        explained=_explained(analysis, runs, predictions, parameters),
        seeds=seeds,
        predictions=predictions,
        made=datetime.now(UTC),
        analysis=analysis,
        threshold=_threshold(runs, parameters),
        runs=runs,
        prepared=paths.prepared,
    )
    html = render(page)
    with artifacts.replacing_folder(paths.report, REPORTED) as folder:
        artifacts.write_json(folder / "summary.json", _as_json(summary, seeds))
        summary.write_csv(folder / "summary.csv")
        seeds.write_csv(folder / "seeds.csv")
        (folder / "report.html").write_text(html, encoding="utf-8")
        manifest.seal(folder, {}, meta.content_hash)
    return summary


def verdicts(summary: pl.DataFrame, seeds: pl.DataFrame, paths: Paths) -> list[str]:
    """Say in plain sentences how methods stand against random, over seeds where there are."""
    return _verdicts(summary, seeds, read_meta(paths.prepared))


def _verdicts(summary: pl.DataFrame, seeds: pl.DataFrame, meta: Meta) -> list[str]:
    over_seeds = {row["method"]: verdict(row) for row in seeds.iter_rows(named=True)}
    known = {method: sentence for method, sentence in over_seeds.items() if sentence}
    single = against_random(
        summary.filter(~pl.col("method").is_in([*known]) | pl.col("reused")), meta.sizes["test"]
    )
    return [*known.values(), *single]


def read_summary(paths: Paths) -> pl.DataFrame:
    """Read the summary of the last report; :class:`ArtifactError` if missing or damaged."""
    return _read_table(paths, "summary.csv", SUMMARY)


def read_seeds(paths: Paths) -> pl.DataFrame:
    """Read the last report's table over seeds; :class:`ArtifactError` if missing or damaged."""
    return _read_table(paths, "seeds.csv", SEEDS)


def _read_table(paths: Paths, name: str, kinds: Mapping[str, Any]) -> pl.DataFrame:
    again = "make it with `python cli.py report`"
    table = read_csv(paths.report / name, kinds, again)
    manifest.read(paths.report, again).verify(name)
    return table


def _over_seeds(
    parameters: Parameters,
    paths: Paths,
    meta: Meta,
    rows: Sequence[Mapping[str, Any]],
    runs: Mapping[str, Mapping[str, Any]],
) -> tuple[pl.DataFrame, dict[str, Mapping[str, Any]]]:
    """Return the table over seeds, and run.json of each run with a further one, by its name."""
    check_seeds(parameters, parameters.run.seeds)
    found = [
        {**row, "seed": _seed(runs[row["method"]], parameters.train.seed)}
        for row in rows
        if not row["reused"]
    ]
    repeats: dict[str, Mapping[str, Any]] = {}
    for method in parameters.run.methods:
        for seed in parameters.run.seeds:
            folder = paths.repeat(method, seed)
            if not folder.is_dir():
                logger.warning("report: %s: not there, it is left out", folder)
                continue
            found.append(_repeat_row(folder, method, seed, meta))
            repeats[f"{method}, seed {seed}"] = artifacts.read_json(folder / artifacts.RUN)
    order = {method: place for place, method in enumerate(parameters.run.methods)}
    return over_seeds(sorted(found, key=lambda row: order[row["method"]])), repeats


def _repeat_row(folder: Path, method: str, seed: int, meta: Meta) -> dict[str, Any]:
    path = folder / artifacts.METRICS
    metrics = artifacts.read_json(path)
    command = f"repeat --method {method} --seed {seed}"
    run = manifest.read(folder, f"make it again with `python cli.py {command}`")
    run.run(method)
    run.require_data(meta)
    run.verify(artifacts.METRICS, artifacts.RUN)
    return {
        "method": method,
        "seed": seed,
        "accuracy": _number(metrics, "accuracy", path),
        "seconds": _number(metrics, "seconds_train", path),
    }


def _method_row(paths: Paths, method: str, meta: Meta) -> dict[str, Any]:
    """Read what a method's training cost, and what its evaluation says of the same run."""
    for folder, stage in ((paths.train(method), "train"), (paths.evaluate(method), "evaluate")):
        if not folder.is_dir():
            raise ArtifactError(
                f"{folder}: not there; make it with `python cli.py {stage} --method {method}`, "
                "or take it out of run.methods"
            )
    trained = paths.train(method) / artifacts.METRICS
    evaluated = paths.evaluate(method) / artifacts.METRICS
    test_metrics = artifacts.read_json(evaluated)
    row = {
        **_cost(trained),
        "method": method,
        "reused": False,
        "outdated": False,
        "accuracy": _number(test_metrics, "accuracy", evaluated),
        "loss": _number(test_metrics, "loss", evaluated),
    }
    run = manifest.of_training(trained.parent, method)
    run.require_data(meta)
    run.verify(artifacts.METRICS, artifacts.RUN)
    again = f"make it with `python cli.py evaluate --method {method}`"
    evaluation = manifest.read(evaluated.parent, again)
    _require_run(evaluation, method, run.run(method), paths)
    evaluation.require_data(meta)
    evaluation.verify(artifacts.METRICS)
    return row | {"outdated": _outdated(run, f"train --method {method}")}


def _predictions(paths: Paths, method: str, meta: Meta) -> pl.DataFrame:
    """Read what a method's model takes the test examples for."""
    folder = paths.evaluate(method)
    table = artifacts.read_table(folder / artifacts.PREDICTIONS)
    again = f"make it with `python cli.py evaluate --method {method}`"
    manifest.read(folder, again).verify(artifacts.PREDICTIONS)
    known = pl.all_horizontal(pl.col("label", "prediction").is_between(0, len(meta.classes) - 1))
    if not table.select(known.all()).item():
        raise ArtifactError(f"{folder / artifacts.PREDICTIONS}: of other classes; {again}")
    return table


def _require_run(found: Manifest, method: str, run: str, paths: Paths) -> None:
    """Refuse results of another run of a method than its folder holds now."""
    if found.run(method) != run:
        raise ArtifactError(
            f"{found.folder}: of another run than {paths.train(method)} holds now; {found.again}"
        )


def _outdated(run: Manifest, command: str) -> bool:
    """Whether a run was trained on coresets of a run that has been made anew since; says so."""
    if not manifest.is_outdated(run.coresets):
        return False
    logger.warning(
        "report: %s: trained on coresets of another run than %s holds now; `python cli.py %s` "
        "makes it again",
        run.folder,
        run.coresets["source"],
        command,
    )
    return True


def _reuse_row(paths: Paths, model: str, meta: Meta) -> dict[str, Any]:
    folder = paths.reuse(model)
    path = folder / artifacts.METRICS
    metrics = artifacts.read_json(path)
    row = {
        **_cost(path),
        "method": "replay",
        "model": model,
        "reused": True,
        "accuracy": _number(metrics, "accuracy", path),
        "loss": _number(metrics, "loss", path),
    }
    command = f"reuse --model {shlex.quote(model)}"
    again = f"make it again with `python cli.py {command}`, or take {model} out of reuse.models"
    run = manifest.read(folder, again)
    if paths.reuse(str(metrics.get("model"))) != folder:
        raise ArtifactError(
            f"{folder}: holds {metrics.get('model')!r:.80}, not {model}; {run.again}"
        )
    run.run("replay")
    run.require_data(meta)
    run.verify(artifacts.METRICS, artifacts.RUN)
    return row | {"outdated": _outdated(run, command)}


def _cost(path: Path) -> dict[str, Any]:
    metrics = artifacts.read_json(path)
    parts = metrics.get("seconds")
    if not isinstance(parts, dict):
        raise ArtifactError(f"{path}: lacks 'seconds' by part; make it again")
    return {
        "model": str(metrics.get("model", "")),
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


def _number(values: Mapping[str, Any], key: str, path: Path) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArtifactError(f"{path}: '{key}' must be a number, it is {value!r:.40}; make it again")
    return float(value)


def _read_analysis(paths: Paths, methods: Sequence[str], meta: Meta) -> Analysis:
    """Read the analysis, if it is of the very runs that are compared."""
    if not paths.analyze.is_dir():
        raise ArtifactError(f"{paths.analyze}: not there; make it with `python cli.py analyze`")
    analysis = read_analysis(paths.analyze)
    found = manifest.read(paths.analyze, AGAIN)
    found.require_data(meta)
    for method in dict.fromkeys([*methods, *found.runs]):
        if paths.train(method).is_dir():
            run = manifest.of_training(paths.train(method), method).run(method)
            _require_run(found, method, run, paths)
    if len(analysis.difficulty) != meta.sizes["train"]:
        raise ArtifactError(
            f"{paths.analyze}: of {len(analysis.difficulty)} examples, prepared are "
            f"{meta.sizes['train']}; make it again with `python cli.py analyze`"
        )
    return analysis


def _cautions(
    summary: pl.DataFrame,
    runs: Mapping[str, Mapping[str, Any]],
    repeats: Mapping[str, Mapping[str, Any]],
    parameters: Parameters,
    meta: Meta,
    is_repeated: bool,
) -> list[str]:
    seeds = {_seed(values, parameters.train.seed) for values in runs.values()}
    runs = {**runs, **repeats}
    devices = {json.dumps(values.get("device"), sort_keys=True) for values in runs.values()}
    sentences = cautions(summary, sorted(seeds), meta.sizes["test"], is_repeated)
    if len(devices) > 1:
        sentences.append(
            "The runs were not all made on the same device or in the same precision, so their "
            "seconds cannot be compared."
        )
    if differing := list(_differing({name: _settings(run) for name, run in runs.items()})):
        sentences.append(
            f"The runs differ in {'; '.join(differing)}: what is said of one against another is of "
            "these too."
        )
        logger.warning("report: %s", sentences[-1])
    return sentences


def _choices(analysis: Analysis, runs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say what the mini-batches of each method are worth, and which choices lead astray."""
    for method, values in runs.items():
        sizes = analysis.regions.filter(pl.col("method") == method)["effective_size"].drop_nulls()
        examples = _section(values).get("batch_size")
        if len(sizes) and isinstance(examples, int) and min(sizes) < 0.95 * examples:
            yield (
                f"By their weights, the {examples} examples of a mini-batch of {method} are worth "
                f"{sizes[0]:.1f} of equal weight in the first region and {sizes[-1]:.1f} in the "
                "last (Kish's effective size)."
            )
        if _section(values, method).get("choice") == "medoids":
            yield f"{method} trained on {UNWEIGHTED}."


def _explained(
    analysis: Analysis,
    runs: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, pl.DataFrame],
    parameters: Parameters,
) -> dict[str, list[str]]:
    """Say why pictures of crest's coresets and regions look as they do."""
    settings = _section(runs.get("crest", {}), "crest")
    found = {
        "gradients": farther_than_random(analysis.gradient_errors, settings),
        "regions": throughout(analysis.regions),
    }
    size = settings.get("subset_size", parameters.of(CrestParameters).subset_size)
    if "crest" in predictions and isinstance(size, int | float):
        found["regions"] += ends_above_threshold(
            analysis.regions.filter(pl.col("method") == "crest"),
            _threshold(runs, parameters),
            count_of(size, len(analysis.difficulty)),
            predictions["crest"]["loss"],
        )
    return found


def _threshold(runs: Mapping[str, Mapping[str, Any]], parameters: Parameters) -> float:
    """Return the τ that crest's run had, which the parameters may not say any more."""
    found = _section(runs.get("crest", {}), "crest").get("threshold")
    return (
        float(found) if isinstance(found, int | float) else parameters.of(CrestParameters).threshold
    )


def _settings(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that runs of methods are to share, as run.json has them."""
    section = _section(values)
    return {
        name: json.dumps(value)
        for name, value in sorted(section.items())
        if name in TrainParameters.model_fields and name not in PER_RUN
    }


def _section(values: Mapping[str, Any], name: str = "train") -> Mapping[str, Any]:
    """Return a section of the parameters that run.json holds."""
    parameters = values.get("parameters")
    section = parameters.get(name) if isinstance(parameters, dict) else None
    return section if isinstance(section, dict) else {}


def _differing(settings: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Say which parameters differ between runs, each with its value in every run."""
    for key in dict.fromkeys(key for values in settings.values() for key in values):
        found = {name: values.get(key, "none") for name, values in settings.items()}
        if len(set(found.values())) > 1:
            each = ", ".join(f"{name} {value}" for name, value in found.items())
            yield f"train.{key} ({each})"


def _seed(values: Mapping[str, Any], default: int) -> int:
    seed = _section(values).get("seed", default)
    return seed if isinstance(seed, int) else default


def _as_json(summary: pl.DataFrame, seeds: pl.DataFrame) -> dict[str, Any]:
    """Name every row: ``methods.METHOD.accuracy``, ``reuse.MODEL.accuracy``, ``seeds.METHOD``."""
    document: dict[str, Any] = {"methods": {}, "reuse": {}}
    if len(seeds):
        document["seeds"] = {row.pop("method"): row for row in seeds.to_dicts()}
    for row in summary.iter_rows(named=True):
        group, name = ("reuse", "model") if row["reused"] else ("methods", "method")
        document[group][row[name]] = {key: row[key] for key in SUMMARY if key != "reused"}
    return document
