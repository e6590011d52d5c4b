"""Parts run one after another within a time limit, each in a process of its own.

A part is a module with two functions. ``run(job)`` adds rows to the job's files as it goes, leaves
out what has a row already, and returns whether all rows are there. ``report(job)`` returns them as
Markdown. A part that fails, crashes or runs out of its time stops no other.
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from benchmarks import ROOT

Row = dict[str, Any]

GRACE = 20.0  # seconds that a part is given to stop, for its saved state
LEAST = 5.0  # seconds under which no part begins
REPORTED_IN = 60.0  # seconds
LINE = 160  # letters of what is printed of a row
UNFINISHED = 3  # exit code of a part that has rows left to make


@dataclass(frozen=True)
class Part:
    """A part of the queue.

    Attributes
    ----------
    seconds
        The most it takes before the parts behind it have had their turn.
    module
        Its functions; None for that of its name in :mod:`benchmarks.gpu.parts`.
    """

    name: str
    seconds: float
    module: str | None = None

    def function(self, name: str) -> Callable[["Job"], Any]:
        """Return one of its functions."""
        module = self.module or f"benchmarks.gpu.parts.{self.name}"
        return getattr(import_module(module), name)


@dataclass(frozen=True)
class Job:
    """What a part works on.

    Attributes
    ----------
    out
        The folder of rows, which is what is kept.
    work
        A folder of what only helps: prepared data, states of unfinished runs.
    carried
        The folder that :mod:`benchmarks.gpu.pack` unpacked; what it lacks is absent.
    small
        Whether made-up data and a step or two will do, on the processor.
    ends
        When the part is to end, in seconds of :func:`time.time`.
    """

    part: str
    out: Path
    work: Path
    carried: Path
    small: bool
    commit: str | None
    ends: float = float("inf")

    @property
    def left(self) -> float:
        """Seconds until it is to end."""
        return self.ends - time.time()

    @property
    def path(self) -> Path:
        """The file of the part's rows."""
        return self.out / f"{self.part}.jsonl"

    def rows(self) -> list[Row]:
        """Return the rows that are there; a line that was cut off is left out."""
        return list(_rows(self.path))

    def missing(self, names: Sequence[str]) -> list[str]:
        """Return the names of which there is no row, in their order."""
        there = {row["name"] for row in self.rows()}
        return [name for name in names if name not in there]

    def add(self, name: str, **values: Any) -> None:
        """Add a row, with what its figures depend on."""
        row = {"part": self.part, "name": name, **values, **_surroundings(), "commit": self.commit}
        _append(self.path, row)
        print(f"{self.part}: {name}: {_cells(values)}", flush=True)


@dataclass(frozen=True)
class Outcome:
    """How a turn of a part ended: done, out of time, or failed and why."""

    part: str
    state: str
    seconds: float


def run_parts(
    parts: Sequence[Part], job: Job, seconds: float, preload: Sequence[str] = ()
) -> list[Outcome]:
    """Run parts in order, then those with rows left in what is left of the time.

    Parameters
    ----------
    job
        Its ``part`` and ``ends`` are set for each.
    preload
        Modules that are imported once for all of the processes, where none was begun before.
    """
    ends = time.time() + seconds
    job.out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    if preload:
        context.set_forkserver_preload([*preload])
    outcomes: dict[str, Outcome] = {}
    for boxed in (True, False):
        for part in parts:
            left = ends - time.time()
            earlier = outcomes.get(part.name)
            if left < LEAST or not (earlier is None or earlier.state == "out of time"):
                continue
            box = min(part.seconds, left) if boxed else left
            outcomes[part.name] = _turn(context, part, replace(job, part=part.name), box)
            _append(job.out / "parts.jsonl", vars(outcomes[part.name]))
    return [outcomes.get(part.name, Outcome(part.name, "not begun", 0.0)) for part in parts]


def report(parts: Sequence[Part], job: Job, outcomes: Sequence[Outcome]) -> str:
    """Return what all parts have found, in Markdown."""
    context = multiprocessing.get_context("forkserver")
    path = job.out / "report.md"
    lines = [f"| {each.part} | {each.state} | {each.seconds:.0f} |" for each in outcomes]
    heading = "| part | how it ended | seconds |\n|---|---|---|"
    path.write_text("\n".join([heading, *lines, ""]), encoding="utf-8")
    process = context.Process(target=_report_all, args=(parts, job, path))
    process.start()
    process.join(REPORTED_IN)
    if process.exitcode is None:
        process.kill()
    return path.read_text(encoding="utf-8")


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return rows as a table in Markdown, with the devices and versions below."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(_cell(row.get(name)) for name in columns)} |" for row in rows]
    places = {f"{row['device']}, torch {row['torch']}, commit {row['commit']}" for row in rows}
    return "\n".join([*lines, "", *sorted(places)])


def commit_of(carried: Path) -> str | None:
    """Return the commit of the code: git's, or the one that was noted when it was packed."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    if shutil.which("git"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    noted = carried / "commit"
    return noted.read_text(encoding="utf-8").strip() if noted.exists() else None


def _turn(
    context: multiprocessing.context.ForkServerContext, part: Part, job: Job, box: float
) -> Outcome:
    """Run a part for at most so many seconds."""
    started = time.time()
    failed = job.out / f".{part.name}.failed"
    failed.unlink(missing_ok=True)
    process = context.Process(
        target=_work, args=(part, replace(job, ends=started + box), failed), name=part.name
    )
    print(f"== {part.name}: {box:.0f} s at most", flush=True)
    process.start()
    try:
        state = _state(process, box, failed)
    finally:
        if process.is_alive():
            process.kill()
            process.join()
        failed.unlink(missing_ok=True)
    outcome = Outcome(part.name, state, round(time.time() - started, 1))
    print(f"== {part.name}: {outcome.state}, {outcome.seconds} s", flush=True)
    return outcome


def _state(process: ForkServerProcess, box: float, failed: Path) -> str:
    """Wait for a part; return how it ended."""
    process.join(box)
    late = process.is_alive()
    if late:
        process.terminate()
        process.join(GRACE)
    if late or process.exitcode == UNFINISHED:
        return "out of time"
    if process.exitcode == 0:
        return "done"
    why = failed.read_text(encoding="utf-8") if failed.exists() else f"exit {process.exitcode}"
    return f"failed: {why}"


def _work(part: Part, job: Job, failed: Path) -> None:
    """Be the process of a part; its exit code says how it ended."""
    try:
        complete = part.function("run")(job)
    except Exception as error:
        traceback.print_exc()
        failed.write_text(f"{type(error).__name__}: {_one_line(str(error))}", encoding="utf-8")
        raise SystemExit(1) from None
    raise SystemExit(0 if complete else UNFINISHED)


def _report_all(parts: Sequence[Part], job: Job, path: Path) -> None:
    """Add the parts' reports to a file; one that cannot be made says so there."""
    for part in parts:
        try:
            text = part.function("report")(replace(job, part=part.name))
        except Exception as error:
            traceback.print_exc()
            text = f"no report: {type(error).__name__}: {_one_line(str(error))}"
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n## {part.name}\n\n{text}\n")


def _surroundings() -> Row:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    }


def _rows(path: Path) -> Iterator[Row]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _append(path: Path, row: Row) -> None:
    """Add a line, on the disk before anything can go wrong."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _cells(values: Row) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in values.items())[:LINE]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value).replace("|", "/")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
