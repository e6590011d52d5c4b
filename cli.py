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

import errno
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from crest.errors import CrestError, Interrupted, ParameterError, needs_extra

try:
    with needs_extra("pipeline"):
        import typer
except CrestError as error:
    sys.exit(f"error: {error}")

# Threads that sleep while they wait leave the cores to others, also where there are more threads
# than cores. On two idle cores spinning is faster, and was beside a second training of two threads
# (docs/performance.md, benchmarks/speed/waiting.py). Set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from crest.artifacts import claiming, reading
from crest.config import Parameters, load
from crest.methods import METHODS
from crest.parameters.section import keys_of, value_of
from crest.pipeline.paths import Paths
from crest.pipeline.process import keep_freed_memory
from crest.pipeline.signals import raising

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="CREST: small weighted mini-batch coresets, picked while a network trains.\n\n"
    "Example: python cli.py train --method crest -S train.budget=0.2",
)


def keys_beginning(incomplete: str) -> list[str]:
    """Return the keys of parameters that begin so, for a shell to complete."""
    keys = (f"{key}=" for key in keys_of(Parameters))
    return [key for key in keys if key.startswith(incomplete)]


def methods_beginning(incomplete: str) -> list[str]:
    """Return the methods that begin so."""
    return [name for name in METHODS if name.startswith(incomplete)]


def scores_beginning(incomplete: str) -> list[str]:
    """Return the scores that begin so."""
    return [name for name in SCORES if name.startswith(incomplete)]


def presets_beginning(incomplete: str) -> list[str]:
    """Return the presets that begin so."""
    from crest.presets import presets

    return [name for name in presets() if name.startswith(incomplete)]


ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "-S",
        metavar="SECTION.KEY=VALUE",
        help="Override a parameter; repeatable.",
        autocompletion=keys_beginning,
    ),
]
MethodName = Annotated[
    str | None,
    typer.Option("--method", help="Default: all of run.methods.", autocompletion=methods_beginning),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget the state of an unfinished run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

# What keep goes by, of crest.analysis.subset, whose import takes longer than help should.
SCORES = (
    *("forgotten", "mean_loss", "el2n", "wrong_label", "first_learned", "correct", "seen"),
    *("selected", "trained"),
)
PARAMS = Path("params.yaml")
PATHS = Paths()
WIDTH = 100  # of a line of help
STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")

Claims = Callable[[Parameters], Iterable[Path]]


@contextmanager
def failing_plainly(
    stage: str, parameters: Callable[[], Parameters] | None = None, claims: Claims | None = None
) -> Iterator[Any]:
    """Yield a stage; turn the errors that are meant for people into a message and an exit code.

    What the stage will write is claimed before its imports, which take seconds. A signal that comes
    while they do ends the process at once; later it is an :class:`Interrupted`.

    Parameters
    ----------
    parameters
        Returns the parameters, for ``claims``.
    claims
        Returns the folders that the stage will replace once it has done its work.
    """
    try:
        with ExitStack() as held:
            if parameters is not None and claims is not None and is_first_process():
                for folder in claims(parameters()):
                    held.enter_context(claiming(folder))
            if stage not in ("doctor", "fingerprint", "prepare", "preset"):
                held.enter_context(reading(PATHS.prepared))
            module = import_module(f"stages.{stage}")
            with raising():
                yield module
    except Interrupted as interrupted:
        typer.echo(str(interrupted), err=True)
        raise typer.Exit(interrupted.exit_code) from None
    except CrestError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read the output has gone
            raise
        place = error.filename or "the file system"
        typer.echo(f"error: {place}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None


def parameters_of(params: Path, overrides: list[str] | None) -> Callable[[], Parameters]:
    """Return what reads the parameters of a command."""
    return lambda: load(params, overrides or ())


def write_what_can_be_written() -> None:
    r"""Write a letter that a stream's encoding lacks as \\u4e2d, in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def encodable(text: str) -> str:
    """Return JSON that stdout can write, letters that its encoding lacks as JSON has them."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in text)
    return text


def is_first_process() -> bool:
    """Whether this process is the one that writes, of those that a launcher has started."""
    return os.environ.get("RANK", "0") in ("", "0")


def print_metrics(metrics: dict[str, object], as_json: bool) -> None:
    """Print a stage's metrics, as JSON or, rounded, a line each."""
    if as_json:
        typer.echo(json.dumps(metrics))
        return
    for key, value in metrics.items():
        typer.echo(f"{key}: {rounded(value)}")


def rounded(value: object) -> str:
    """Return a metric as people read it: four digits of a number, a group on one line."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {rounded(one)}" for name, one in value.items())
    return str(value)


def each_method(
    parameters: Parameters,
    method: str | None,
    stage: Callable[[str], dict[str, object]],
    as_json: bool,
    quiet: bool = False,
) -> None:
    """Run a stage for one method, or for all that the parameters name."""
    from crest.pipeline.inputs import methods_of

    for name in methods_of(parameters, method):
        metrics = stage(name)
        if not quiet:
            print_metrics(metrics, as_json)


def print_version(wanted: bool) -> None:
    """Print the version and end, if it is asked for."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"crest {version('crest-coresets')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=print_version, help="Print the version."),
    ] = False,
) -> None:
    """Take what stands before a command."""


def described(*keys: str) -> str:
    r"""Return a list of parameters with their defaults, for the help of a command.

    What follows the letter \b is left as it is, not filled.
    """
    known, defaults = keys_of(Parameters), Parameters()
    values = {key: in_yaml(value_of(defaults, key)) for key in keys}
    first, second = (max(map(len, column)) for column in (values, values.values()))
    lines = [
        f"  {key:{first}}  {value:{second}}  {known[key].description or ''}"
        for key, value in values.items()
    ]
    head = "Parameters that matter, with their defaults; params.yaml sets them, -S one for a run:"
    short = [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines]
    return "\n".join(["\b", head, *short, "docs/parameters.md has all of them, in full."])


def in_yaml(value: object) -> str:
    """Return a value of a parameter as params.yaml may have it."""
    plain = list(value) if isinstance(value, tuple) else value
    return plain if isinstance(plain, str) else json.dumps(plain).replace('"', "")


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
    model: Annotated[str | None, typer.Option(help="Default: train.model.")] = None,
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
    seed: Annotated[
        int | None, typer.Option(min=0, help="Default: all of run.seeds.", show_default=False)
    ] = None,
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


def seeds_of(parameters: Parameters, seed: int | None) -> tuple[int, ...]:
    """Return the one seed asked for, or all of run.seeds, of which there must be one."""
    seeds = parameters.run.seeds if seed is None else (seed,)
    if not seeds:
        raise ParameterError("repeat: which seeds? --seed 1, or list them in run.seeds")
    return seeds


@app.command()
def select(
    checkpoint: Annotated[Path, typer.Option(help="A model.safetensors.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write coresets.parquet; -: to stdout.")
    ] = None,
    minibatches: Annotated[int | None, typer.Option(min=1, help="How many (P).")] = None,
    params: ParamsFile = PARAMS,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Select one region's coresets for a given model, without training.

    Example: python cli.py select --checkpoint model.safetensors --out coresets.parquet
    """
    with failing_plainly("select") as stage:
        streamed = str(out) in STDOUT
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


def check_select_output(out: Path | None, streamed: bool, as_json: bool) -> None:
    """Refuse coresets that would go nowhere, twice into one stream, or over a person's screen."""
    if out is None and not as_json:
        raise ParameterError("select: say where the coresets go: --out FILE, --out - or --json")
    if streamed and as_json:
        raise ParameterError("select: --out - and --json both go to stdout; leave one out")
    if streamed and sys.stdout.isatty():
        raise ParameterError(
            "select: --out - writes Parquet, which no terminal shows; send it on to a file or a "
            "program, or use --json"
        )


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
    source: Annotated[
        Path, typer.Argument(help="A folder that LossBatchSampler.save wrote, or a training run.")
    ],
    out: Annotated[Path | None, typer.Option(help="Default: SOURCE/difficulty.")] = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Prepared data that it is of, for names and pictures.")
    ] = None,
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
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            help="What difficulty takes; several runs on the same data count together. "
            "Default: artifacts/analyze.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="FILE.csv or FILE.parquet. Default: stdout.")
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2**31 - 1,
            help="Examples listed. Default: those that are more likely wrong than right.",
        ),
    ] = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Prepared data that it is of, for names of classes.")
    ] = None,
    inputs: Annotated[
        bool,
        typer.Option(
            "--inputs",
            help="Judge each label by all other examples too; before any training, by them alone.",
        ),
    ] = False,
) -> None:
    """List the examples whose labels are likely wrong, and the classes they are taken for.

    Example: python cli.py mislabelled --most 100 --out suspects.csv
    """
    with failing_plainly("mislabelled") as stage:
        from crest.pipeline.recorded import check_format, write_rows

        if out is not None:
            check_format("mislabelled", out)
        found = stage.run(sources or [], PATHS, prepared, most, inputs)
        typer.echo(found.summary, err=True)
        if out is None:
            typer.echo(found.rows.write_csv(), nl=False)
        else:
            write_rows(found.rows, out)
            typer.echo(str(out))


@app.command()
def reuse(
    model: Annotated[str | None, typer.Option(help="Default: all of reuse.models.")] = None,
    coresets: Annotated[
        Path | None, typer.Option(help="A training run's folder, or a coresets.parquet.")
    ] = None,
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
    out: Annotated[
        Path, typer.Option(help="FILE.csv, or a folder for the data set of what was selected.")
    ],
    coresets: Annotated[
        Path | None, typer.Option(help="A training run's folder, or a coresets.parquet.")
    ] = None,
    regions: Annotated[
        str | None, typer.Option(metavar="A:B", help="Regions from A up to but not including B.")
    ] = None,
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
    show: Annotated[bool, typer.Option("--show", help="Print the last report's table.")] = False,
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
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="As for mislabelled."),
    ] = None,
    by: Annotated[
        str, typer.Option(help=f"The score: {', '.join(SCORES)}.", autocompletion=scores_beginning)
    ] = "forgotten",
    share: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of the examples that is kept.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many are kept.")] = None,
    lowest: Annotated[
        bool, typer.Option("--lowest", help="Keep the lowest scores, not the highest.")
    ] = False,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Keep as large a share of every class.")
    ] = False,
    others: Annotated[
        bool, typer.Option("--others", help="Write those that are not kept: what to drop.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws among equal scores.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="FILE.csv or FILE.parquet. Default: stdout.")
    ] = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Prepared data that it is of, for names of classes.")
    ] = None,
) -> None:
    """List the part of the examples with the highest scores, such as those forgotten most often.

    Example: python cli.py keep --by forgotten --share 0.1 --out hardest-tenth.csv
    """
    with failing_plainly("keep") as stage:
        from crest.pipeline.recorded import check_format, write_rows

        if out is not None:
            check_format("keep", out)
        found = stage.run(
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
        typer.echo(found.summary, err=True)
        if out is None:
            typer.echo(found.rows.write_csv(), nl=False)
        else:
            write_rows(found.rows, out)
            typer.echo(str(out))


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
        for subject, facts in found.items():
            typer.echo(subject)
            for name, fact in facts.items():
                typer.echo(f"  {name:14}{fact}")


@app.command()
def preset(
    name: Annotated[
        str | None, typer.Argument(help="None: list them.", autocompletion=presets_beginning)
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print what it sets, and leave params.yaml.")
    ] = False,
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
