"""analyze: which examples were chosen, when, and how hard they were."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import polars as pl

from crest import artifacts
from crest.analysis.difficulty import mislabelled, notable, training_pass
from crest.analysis.runs import Run, analyse
from crest.config import Parameters
from crest.data.files import Meta, TextMeta, read_meta
from crest.data.origins import with_sources
from crest.errors import ArtifactError, ParameterError, nearest
from crest.figures import gallery, png
from crest.files.csv_cells import formula_note
from crest.methods.crest import CrestParameters
from crest.pipeline import manifest
from crest.pipeline.analysis_files import write_analysis
from crest.pipeline.paths import ANALYSED, Paths
from crest.pipeline.snapshot_gradients import measure
from crest.pipeline.texts import ranked, texts_of_groups

logger = logging.getLogger(__name__)


def run(parameters: Parameters, paths: Paths) -> None:
    """Write artifacts/analyze: difficulty.parquet, a CSV a table, a PNG a picture.

    mislabelled.csv lists the examples whose labels are likeliest wrong. For text there is also
    texts.csv: the examples that the report shows, with their texts.

    What the models of snapshots show is there for runs that kept some
    (train.snapshots). Without a selecting method the selection tables have no rows,
    difficulty.parquet counts no selections, and a message says so.

    Raises
    ------
    ParameterError
        If ``analyze.scores_from`` is not one of the methods that were run.
    ArtifactError
        If a run is missing, damaged, or not of the prepared data; for text, if the texts are.
    """
    methods = parameters.run.methods
    scores_from = parameters.analyze.scores_from
    if scores_from not in methods:
        raise ParameterError(
            f"analyze.scores_from: '{scores_from}' is not one of run.methods "
            f"({', '.join(methods)}); name one of them, or add it there"
            f"{nearest(scores_from, methods)}"
        )
    meta = read_meta(paths.prepared)
    runs = [read_run(paths.train(method), method) for method in methods]
    sealed = manifest.of_trainings({method: paths.train(method) for method in methods}, meta)
    rests_on = {run.method: _identity(sealed[run.method], run, meta) for run in runs}
    if all(one.coresets is None for one in runs):
        logger.warning(
            "analyze: none of %s selects coresets; curves and difficulty only", ", ".join(methods)
        )
    analysis = analyse(runs, scores_from, meta.classes)
    gradients, dropped = measure(parameters, paths, runs)
    analysis = replace(
        analysis,
        difficulty=with_sources(analysis.difficulty, paths.prepared),
        gradient_errors=gradients,
        dropped_accuracy=dropped,
    )
    with artifacts.replacing_folder(paths.analyze, ANALYSED) as folder:
        write_analysis(folder, analysis)
        for picture in gallery(analysis, parameters.of(CrestParameters).threshold):
            (folder / f"{picture.name}.png").write_bytes(png(picture.figure))
        if isinstance(meta, TextMeta):
            texts = texts_of_groups(paths.prepared, meta, notable(analysis.difficulty))
            texts.write_csv(folder / "texts.csv")
            _note_formulas("texts", (text for name in texts.columns for text in texts[name]))
        ranked(mislabelled(analysis.difficulty), meta).write_csv(folder / "mislabelled.csv")
        _note_formulas("names of classes", meta.classes)
        manifest.seal(folder, rests_on, meta.content_hash)


def _note_formulas(what: str, cells: Iterable[object]) -> None:
    """Say where a spreadsheet would take what stands in a CSV for a formula."""
    if note := formula_note(what, (cell for cell in cells if isinstance(cell, str))):
        logger.warning("analyze: in the CSVs, %s", note)


def _runs_there(folder: Path) -> str:
    """Name the runs that there are, for a message."""
    found = sorted(path.parent.name for path in folder.glob(f"*/{artifacts.METRICS}"))
    return f" ({', '.join(found)})" if found else ""


def read_run(folder: Path, method: str) -> Run:
    """Read the tables of a training run and check that they belong together.

    Raises
    ------
    ArtifactError
        If the folder or a file is missing or damaged, naming the command that makes it.
    """
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder}: no such run; make it with `python cli.py train --method {method}`, "
            f"or set run.methods to those that were run{_runs_there(folder.parent)}"
        )
    selects = bool(artifacts.read_json(folder / artifacts.METRICS).get("regions"))
    found = Run(
        method=method,
        steps=artifacts.read_table(folder / artifacts.STEPS),
        examples=artifacts.read_table(folder / artifacts.EXAMPLES),
        validation=artifacts.read_table(folder / artifacts.VALIDATION),
        regions=artifacts.read_table(folder / artifacts.REGIONS) if selects else None,
        coresets=artifacts.read_table(folder / artifacts.CORESETS) if selects else None,
    )
    _check_run(found, folder)
    return found


def _identity(sealed: manifest.Manifest, found: Run, meta: Meta) -> str:
    """Return the identity of a run whose tables were read, if they are its own and of the data."""
    sealed.verify(artifacts.METRICS, artifacts.STEPS, artifacts.EXAMPLES, artifacts.VALIDATION)
    if found.coresets is not None:
        sealed.verify(artifacts.REGIONS, artifacts.CORESETS)
    count = len(training_pass(found.examples))
    if count != meta.sizes["train"]:
        raise ArtifactError(
            f"{sealed.folder}: of {count:,} examples, prepared are {meta.sizes['train']:,}; "
            f"{sealed.again}"
        )
    return sealed.run(found.method)


def _check_run(found: Run, folder: Path) -> None:
    again = f"make it again with `python cli.py train --method {found.method}`"
    if found.steps.is_empty():
        raise ArtifactError(f"{folder / artifacts.STEPS}: holds no steps; {again}")
    examples = training_pass(found.examples)
    if examples["index"].to_list() != list(range(len(examples))):
        raise ArtifactError(
            f"{folder / artifacts.EXAMPLES}: its training pass must list every example once, in "
            f"order; {again}"
        )
    if found.coresets is None:
        return
    path = folder / artifacts.CORESETS
    outside = found.coresets.filter(~pl.col("index").is_between(0, len(examples) - 1))
    if not outside.is_empty():
        raise ArtifactError(
            f"{path}: index {outside['index'][0]} is not one of {len(examples)} examples; {again}"
        )
    unknown = found.steps.join(found.coresets, on=["region", "minibatch"], how="anti")
    if not unknown.is_empty():
        step, region, minibatch = unknown.select("step", "region", "minibatch").row(0)
        raise ArtifactError(
            f"{path}: lacks mini-batch {minibatch} of region {region}, which step {step} trained "
            f"on; {again}"
        )
