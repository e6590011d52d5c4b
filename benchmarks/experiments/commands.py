"""The tables of docs/results/: experiments that are run, saved as they go, and printed.

    python -m benchmarks.experiments prepare EXPERIMENT --project FOLDER --source SOURCE
    python -m benchmarks.experiments run EXPERIMENT --project FOLDER --out docs/results/NAME.jsonl
    python -m benchmarks.experiments table docs/results/NAME.jsonl
    python -m benchmarks.experiments curves docs/results/NAME.jsonl --out docs/results/NAME.png

EXPERIMENT is a file of definitions/, by its name (experiment.py says what it holds).
FOLDER holds data/prepared. The first command makes it, as `python cli.py prepare` in that folder
does with the data set and the validation share that the experiment's preset names.

Each finished run adds a line to the file of --out, and is not run again while its parameters stay
as they are; a run that was stopped or killed goes on where it was. All runs of the first seed come
first; runs that are given the time of another come last. Several processes may share a file.
What runs leave for others (coresets, states, and the steps that fit into a time) lies in --keep.

Seconds are of choosing and training: validation and test are left out. ``seconds`` is wall-clock,
``cpu_seconds`` what the processors worked for this process. On a machine that others use too, the
second is the one to compare where training runs on one thread of a CPU, and the tables then do; a
busy neighbour slows a core down all the same, so that the same work still differs from run to run.
"""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import stages.prepare
from benchmarks.experiments import experiment
from benchmarks.experiments.experiment import Experiment
from benchmarks.experiments.rows import Row, Rows
from benchmarks.experiments.runner import Runner, warm_up
from benchmarks.experiments.tables import grouped, markdown
from crest.data.files import read_meta
from crest.errors import ArtifactError, CrestError, Interrupted, ParameterError
from crest.pipeline import signals
from crest.pipeline.paths import Paths

EXPERIMENTS = Path(__file__).parent / "definitions"


def prepare(arguments: argparse.Namespace) -> int:
    settings = known(arguments.experiment).plans[0].parameters.prepare
    if arguments.source is not None:
        settings = settings.model_copy(update={"source": arguments.source})
    folder = Paths(arguments.project).prepared
    meta = stages.prepare.run(settings, folder)
    print(f"{folder}: {meta.dataset}, {meta.sizes}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    chosen = known(arguments.experiment, arguments.seeds)
    names = matching([plan.name for plan in chosen.plans], arguments.only)
    selected = [chosen.plan(name) for name in names]
    paths = Paths(arguments.project)
    keep = arguments.keep or arguments.project / "runs" / chosen.name
    out = Rows(arguments.out or Path("docs", "results", f"{chosen.name}.jsonl"))
    prepared = read_meta(paths.prepared).content_hash
    warm_up()
    runner = Runner(chosen, paths, prepared, keep, out, lambda line: print(line, flush=True))
    return 0 if runner.run(selected, arguments.fresh) else 1


def known(name: str, seeds: Sequence[int] | None = None) -> Experiment:
    """Return the experiment of that name."""
    path = EXPERIMENTS / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(path.stem for path in EXPERIMENTS.glob("*.yaml")))
        raise ParameterError(f"'{name}' is not one of {names}")
    return experiment.read(path, seeds)


def saved_rows(path: Path) -> tuple[list[Row], Experiment | None]:
    """Return the rows of a file, and their experiment if there still is a file of it."""
    rows = Rows(path).read()
    if not rows:
        raise ArtifactError(f"{path}: no finished run; run the experiment first")
    names = {row["experiment"] for row in rows}
    if len(names) > 1:
        raise ArtifactError(f"{path}: rows of several experiments: {', '.join(sorted(names))}")
    name = names.pop()
    return rows, known(name) if (EXPERIMENTS / f"{name}.yaml").is_file() else None


def table(arguments: argparse.Namespace) -> int:
    rows, of = saved_rows(arguments.rows)
    print(markdown(rows, of, arguments.rules, arguments.beside), end="")
    return 0


def curves(arguments: argparse.Namespace) -> int:
    from benchmarks.experiments import curves as pictures

    rows, of = saved_rows(arguments.rows)
    out = arguments.out
    if out.suffix not in (".png", ".svg"):
        raise ParameterError(f"--out {out}: name it .png or .svg")
    groups = grouped(rows, of)
    names = matching([group.name for group in groups], arguments.only)
    groups = [group for group in groups if group.name in names]
    for x in ("step", "seconds"):
        path = out.with_name(f"{out.stem}-{x}{out.suffix}")
        pictures.write(pictures.draw(groups, x), path)
        print(path)
    return 0


def matching(names: Sequence[str], patterns: Sequence[str] | None) -> list[str]:
    """Return the names that match one of the patterns; each pattern matches one."""
    if patterns is None:
        return list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ParameterError(f"--only: '{pattern}' matches none of {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments", description=__doc__.splitlines()[0]
    )
    commands = top.add_subparsers(required=True)
    preparing = commands.add_parser("prepare", help="prepare the data of an experiment")
    preparing.add_argument("experiment", help="name of a file of definitions/")
    preparing.add_argument("--project", type=Path, required=True, help="gets data/prepared")
    preparing.add_argument("--source", help="a folder or an address, instead of the preset's")
    preparing.set_defaults(command=prepare)
    running = commands.add_parser("run", help="run what has no row yet")
    running.add_argument("experiment", help="name of a file of definitions/")
    running.add_argument("--project", type=Path, required=True, help="holds data/prepared")
    running.add_argument("--out", type=Path, help="default: docs/results/EXPERIMENT.jsonl")
    running.add_argument("--keep", type=Path, help="default: PROJECT/runs/EXPERIMENT")
    running.add_argument("--seeds", type=numbers, help="such as 0,1,2, instead of the file's")
    running.add_argument("--only", nargs="+", metavar="NAME", help="names of runs; * matches any")
    running.add_argument("--fresh", action="store_true", help="forget states of unfinished runs")
    running.set_defaults(command=run)
    showing = commands.add_parser("table", help="print the table in Markdown")
    showing.add_argument("rows", type=Path, help="the --out of run")
    showing.add_argument(
        "--rules", action="store_true", help="columns for rules that are run at several budgets"
    )
    showing.add_argument("--beside", metavar="NAME", help="a run that all are compared with too")
    showing.set_defaults(command=table)
    drawing = commands.add_parser("curves", help="draw accuracy by step and by second")
    drawing.add_argument("rows", type=Path, help="the --out of run")
    drawing.add_argument(
        "--out", type=Path, required=True, help="NAME.png or .svg: NAME-step.png, NAME-seconds.png"
    )
    drawing.add_argument("--only", nargs="+", metavar="NAME", help="names of runs; * matches any")
    drawing.set_defaults(command=curves)
    return top


def main(words: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    try:
        with signals.raising():
            return arguments.command(arguments)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return interrupted.exit_code
    except CrestError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
