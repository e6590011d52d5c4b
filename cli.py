#!/usr/bin/env python3
"""The command line: parses, calls one stage function, prints."""

import os
import sys

if __name__ == "__main__":  # before anything that takes time to import
    try:
        from crest.pipeline.early import end_at_once

        end_at_once()
    except KeyboardInterrupt:
        sys.exit(130)

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from crest.errors import CrestError, ParameterError, needs_extra

try:
    with needs_extra("pipeline"):
        import typer
except CrestError as error:
    sys.exit(f"error: {error}")

# Threads that sleep while they wait leave the cores to others, also where there are more threads
# than cores. On two idle cores spinning is faster, and was beside a second training of two threads
# (docs/performance.md, benchmarks/speed/waiting.py). Set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from crest.config import Parameters, load
from crest.pipeline import options
from crest.pipeline.commands import (
    PATHS,
    check_select_output,
    failing_plainly,
    is_stdout,
    parameters_of,
    seeds_of,
)
from crest.pipeline.options import AsJson, Fresh, MethodName, Overrides, ParamsFile, described
from crest.pipeline.printing import (
    encodable,
    print_facts,
    print_metrics,
    print_version,
    write_what_can_be_written,
)
from crest.pipeline.process import keep_freed_memory

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="CREST: small weighted mini-batch coresets, picked while a network trains.\n\n"
    "Example: python cli.py train --method crest -S train.budget=0.2",
)


PARAMS = Path("params.yaml")


# These are here as no stage runs what they import; of a module that all stages have, each stage
# would be run again when that changes.
def presets_beginning(incomplete: str) -> list[str]:
    """Return the presets that begin so."""
    from crest.presets import presets

    return [name for name in presets() if name.startswith(incomplete)]


def each_method(
    parameters: Parameters,
    method: str | None,
    stage: Callable[[str], dict[str, object]],
    as_json: bool,
    quiet: bool = False,
) -> None:
    """Run a stage for one method, or for all that the parameters name, and print its metrics."""
    from crest.pipeline.inputs import methods_of

    for name in methods_of(parameters, method):
        metrics = stage(name)
        if not quiet:
            print_metrics(metrics, as_json)


@contextmanager
def listing(command: str, out: Path | None) -> Iterator[Callable[[Any], None]]:
    """Yield what writes the rows that a command found, where it is told to, and their summary."""
    from crest.pipeline.recorded import check_format, write_rows

    if out is not None:
        check_format(command, out)

    def write(found: Any) -> None:
        typer.echo(found.summary, err=True)
        if out is None:
            typer.echo(found.rows.write_csv(), nl=False)
        else:
            write_rows(found.rows, out)
            typer.echo(str(out))

    yield write


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=print_version, help="Print the version."),
    ] = False,
) -> None:
    """Take what stands before a command."""


@app.command()
def fingerprint(params: ParamsFile = PARAMS, overrides: Overrides = None) -> None:
    """Note what the source and the model folders hold; DVC asks for it before every run.

    Example: python cli.py fingerprint
    """
    given = parameters_of(params, overrides)
    with failing_plainly("fingerprint", given, lambda _: [PATHS.fingerprint]) as stage:
        for line in stage.notes(stage.run(given(), PATHS)):
            typer.echo(line)


@app.command(
    epilog=described(
        *("prepare.dataset", "prepare.source", "prepare.image_size", "prepare.text_columns"),
        *("prepare.tokenizer", "prepare.test_split", "prepare.validation", "prepare.seed"),
    )
)
def prepare(params: ParamsFile = PARAMS, overrides: Overrides = None) -> None:
    """Turn the source into data/prepared.

    Example: python cli.py prepare -S prepare.dataset=cifar10 -S prepare.source=~/cifar10
    """
    given = parameters_of(params, overrides)
    with failing_plainly("prepare", given, lambda _: [PATHS.prepared]) as stage:
        meta = stage.run(given().prepare, PATHS.prepared)
        sizes = ", ".join(f"{split} {size}" for split, size in meta.sizes.items())
        typer.echo(f"{PATHS.prepared}: {meta.dataset}, {sizes}, {len(meta.classes)} classes")
        for line in stage.notes(meta):
            typer.echo(line)


@app.command(
    epilog=described(
        *("train.model", "train.epochs", "train.budget", "train.batch_size", "train.optimizer"),
        *("train.lr", "train.schedule", "train.warmup", "train.weight_decay", "train.seed"),
        *("train.precision", "train.device", "train.threads", "train.validations"),
        *("run.methods", "run.save_interval", "run.track"),
    )
)
def train(
    method: MethodName = None,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
    as_json: AsJson = False,
    fresh: Fresh = False,
) -> None:
    """Train with a method, select as it goes, and save everything.

    Example: python cli.py train --method crest -S train.budget=0.2
    """
    given = parameters_of(params, overrides)
    with failing_plainly(
        "train",
        given,
        lambda found: [PATHS.train(name) for name in ([method] if method else found.run.methods)],
    ) as stage:
        from crest.devices.distributed import joined

        parameters = given()
        with joined(parameters.run.process_timeout) as group:
            each_method(
                parameters,
                method,
                lambda name: stage.run(parameters, PATHS, name, fresh, group),
                as_json,
                quiet=not group.first,
            )


@app.command()
def embed(
    model: options.EmbedModel = None,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Embed the images by a pretrained model; find copies, outliers and likely wrong labels.

    Example: python cli.py embed -S train.model=resnet18 -S train.weights=pretrained
    """
    given = parameters_of(params, overrides)
    with failing_plainly(
        "embed", given, lambda found: [PATHS.embed(model or found.train.model)]
    ) as stage:
        parameters = given()
        print_metrics(stage.run(parameters, PATHS, model), as_json)
        if not as_json:
            typer.echo(str(PATHS.embed(model or parameters.train.model) / "embedded.parquet"))


@app.command()
def repeat(
    method: MethodName = None,
    seed: options.FurtherSeed = None,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
    as_json: AsJson = False,
    fresh: Fresh = False,
) -> None:
    """Train and evaluate once more with another seed, for report to say what chance may do.

    Example: python cli.py repeat --method crest --seed 1
    """
    given = parameters_of(params, overrides)

    def runs(found: Parameters) -> list[tuple[str, int]]:
        methods = [method] if method else found.run.methods
        return [(one, number) for one in methods for number in seeds_of(found, seed)]

    with failing_plainly(
        "repeat", given, lambda found: [PATHS.repeat(*one) for one in runs(found)]
    ) as stage:
        parameters = given()
        for name, number in runs(parameters):
            print_metrics(stage.run(parameters, PATHS, name, number, fresh), as_json)


@app.command()
def select(
    checkpoint: options.Checkpoint,
    out: options.SelectOut = None,
    minibatches: options.Minibatches = None,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Select one region's coresets for a given model, without training.

    Example: python cli.py select --checkpoint model.safetensors --out coresets.parquet
    """
    with failing_plainly("select") as stage:
        streamed = is_stdout(out)
        check_select_output(out, streamed, as_json)
        file = None if streamed else out
        table = stage.run(load(params, overrides or ()), PATHS, checkpoint, file, minibatches)
        if as_json:
            typer.echo(encodable(stage.as_json(table, PATHS)))
        elif streamed:
            typer.echo(stage.as_bytes(table, PATHS), nl=False)
        else:
            count = table["minibatch"].n_unique()
            typer.echo(f"{out}: {count} mini-batch coresets of {len(table) // count} examples")


@app.command()
def evaluate(
    method: MethodName = None,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a trained model on the test split.

    Example: python cli.py evaluate --method crest --json
    """
    with failing_plainly("evaluate") as stage:
        parameters = load(params, overrides or ())
        each_method(parameters, method, lambda name: stage.run(parameters, PATHS, name), as_json)


@app.command()
def analyze(params: ParamsFile = PARAMS, overrides: Overrides = None) -> None:
    """Say which examples were chosen, when, and how hard they were.

    Example: python cli.py analyze -S analyze.scores_from=random
    """
    with failing_plainly("analyze") as stage:
        stage.run(load(params, overrides or ()), PATHS)
        typer.echo(str(PATHS.analyze))


@app.command()
def difficulty(
    source: options.Source,
    out: options.DifficultyOut = None,
    prepared: options.PreparedForPictures = None,
) -> None:
    """Say how hard each example was to any training, and whose labels are likely wrong.

    Example: python cli.py difficulty runs/mine
    """
    with failing_plainly("difficulty") as stage:
        folder = out or stage.default_out(source)
        stage.run(source, folder, prepared)
        typer.echo(str(folder / "report.html"))


@app.command()
def mislabelled(
    sources: options.Sources = None,
    out: options.TableOut = None,
    most: options.Most = None,
    prepared: options.PreparedForNames = None,
    inputs: options.Inputs = False,
) -> None:
    """List the examples whose labels are likely wrong, and the classes they are taken for.

    Example: python cli.py mislabelled --most 100 --out suspects.csv
    """
    with failing_plainly("mislabelled") as stage, listing("mislabelled", out) as write:
        write(stage.run(sources or [], PATHS, prepared, most, inputs))


@app.command()
def reuse(
    model: options.ReuseModel = None,
    coresets: options.CoresetsOf = None,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
    as_json: AsJson = False,
    fresh: Fresh = False,
) -> None:
    """Train another model on saved coresets, region by region.

    Example: python cli.py reuse --coresets artifacts/train/crest --model resnet18
    """
    given = parameters_of(params, overrides)
    with failing_plainly(
        "reuse",
        given,
        lambda found: [PATHS.reuse(name) for name in ([model] if model else found.reuse.models)],
    ) as stage:
        parameters = given()
        for name in [model] if model else parameters.reuse.models:
            print_metrics(stage.run(parameters, PATHS, name, coresets, fresh), as_json)


@app.command()
def export(
    out: options.ExportOut,
    coresets: options.CoresetsOf = None,
    regions: options.Regions = None,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
) -> None:
    """Export coresets as CSV, or the selected examples as Parquet laid out as on the hub.

    Example: python cli.py export --out subset --regions 10:20
    """
    with failing_plainly("export") as stage:
        done = stage.run(load(params, overrides or ()), PATHS, out, coresets, regions)
        for line in stage.notes(done, out):
            typer.echo(line)


@app.command()
def report(
    show: options.ShowLast = False,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
) -> None:
    """Write the comparison table and report.html, and print the table.

    Example: python cli.py report
    """
    with failing_plainly("report") as stage:
        parameters = load(params, overrides or ())
        summary = stage.read_summary(PATHS) if show else stage.run(parameters, PATHS)
        seeds = stage.read_seeds(PATHS)
        typer.echo(stage.format_table(summary))
        if len(seeds):
            typer.echo(f"\n{stage.format_seeds(seeds)}")
        for sentence in stage.verdicts(summary, seeds, PATHS):
            typer.echo(sentence)
        typer.echo(f"report: {PATHS.report / 'report.html'}")


@app.command()
def keep(
    sources: options.SourcesAsForMislabelled = None,
    by: options.Score = "forgotten",
    share: options.Share = None,
    count: options.Count = None,
    lowest: options.Lowest = False,
    per_class: options.PerClass = False,
    others: options.Others = False,
    seed: options.TieSeed = 0,
    out: options.TableOut = None,
    prepared: options.PreparedForNames = None,
) -> None:
    """List the part of the examples with the highest scores, such as those forgotten most often.

    Example: python cli.py keep --by forgotten --share 0.1 --out hardest-tenth.csv
    """
    with failing_plainly("keep") as stage, listing("keep", out) as write:
        write(
            stage.run(
                sources or [],
                PATHS,
                by,
                share,
                count,
                lowest=lowest,
                per_class=per_class,
                others=others,
                seed=seed,
                prepared=prepared,
            )
        )


@app.command()
def doctor(
    params: ParamsFile = PARAMS, overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Say what is installed and what is missing, what the machine has, how far the project is.

    Example: python cli.py doctor
    """
    with failing_plainly("doctor") as stage:
        found = stage.run(load(params, overrides or ()), PATHS)
        if as_json:
            typer.echo(json.dumps(found))
            return
        print_facts(found)


@app.command()
def preset(
    name: Annotated[
        str | None, typer.Argument(help="None: list them.", autocompletion=presets_beginning)
    ] = None,
    show: options.ShowPreset = False,
    params: ParamsFile = PARAMS,
) -> None:
    """List ready-made set-ups, print one, or write one into params.yaml.

    Example: python cli.py preset cifar10-resnet20
    """
    with failing_plainly("preset") as stage:
        if show:
            if name is None:
                raise ParameterError("preset: --show: say which: python cli.py preset NAME --show")
            typer.echo(stage.as_yaml(name), nl=False)
            return
        if name is None:
            for known, values in stage.presets().items():
                typer.echo(f"{known:24} {values['description']}")
            return
        stage.run(name, params)
        typer.echo(f"{params}: now {name}")


if __name__ == "__main__":
    keep_freed_memory()
    write_what_can_be_written()
    sys.exit(app())
