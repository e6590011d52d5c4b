"""A run that one can watch: on stderr, a bar where a person sits, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from crest.errors import needs_extra
from crest.pipeline.progress import columns
from crest.training.loop import Advance, Point, Report

with needs_extra("pipeline"):
    from rich.console import Console
    from rich.progress import Progress, TextColumn

APART = 10.0  # seconds between lines, at least: a run of seconds says nothing


@dataclass(frozen=True)
class Watcher:
    """What a run tells: each step, and how it stands now and then."""

    advance: Advance
    report: Report


@contextmanager
def watched(title: str, steps: int, visible: bool = True) -> Iterator[Watcher]:
    """Yield what is to be told of a run of so many steps; not ``visible``, nobody sees it."""
    console = Console(stderr=True, soft_wrap=True)
    if visible and console.is_terminal:
        with _bar(title, steps, console) as watcher:
            yield watcher
        return
    yield Watcher(_nothing, Lines(title, _to_stderr) if visible else _nothing)


def _to_stderr(line: str) -> None:
    """Write a line; that nobody can read it, on a full disk or a closed pipe, stops no run."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class Lines:
    """Writes a line of a point, ten seconds after another at least; the last after others.

    Parameters
    ----------
    write
        Called with each line.
    clock
        Seconds that only rise.
    """

    def __init__(
        self,
        title: str,
        write: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._write = write
        self._clock = clock
        self._written_at = clock()
        self._has_written = False

    def __call__(self, point: Point) -> None:
        """Say how a run stands, if it is time."""
        now = self._clock()
        last = point.step == point.steps
        if now - self._written_at < APART and not (last and self._has_written):
            return
        self._written_at, self._has_written = now, True
        time_of_day = datetime.now().astimezone().strftime("%H:%M:%S")
        self._write(f"{time_of_day} {self._title}: {in_words(point)}")


def in_words(point: Point) -> str:
    """Return how a run stands: step, loss, accuracy, rate, seconds taken and left."""
    validation = ""
    if point.validation_accuracy is not None:
        validation = (
            f", validation loss {point.validation_loss:.3f}, accuracy "
            f"{point.validation_accuracy:.1%}"
        )
    left = point.seconds / point.step * (point.steps - point.step)
    return (
        f"step {point.step:,} of {point.steps:,}, loss {point.loss:.3f}, accuracy "
        f"{point.accuracy:.1%}{validation}, lr {point.learning_rate:.3g}, "
        f"{_duration(point.seconds)}, {_duration(left)} left"
    )


@contextmanager
def _bar(title: str, steps: int, console: Console) -> Iterator[Watcher]:
    stands = TextColumn("{task.fields[stands]}")
    with Progress(*columns(), stands, console=console) as progress:
        task = progress.add_task(title, total=steps, stands="")
        yield Watcher(
            lambda done: progress.update(task, completed=done),
            lambda point: progress.update(task, stands=_short(point)),
        )


def _short(point: Point) -> str:
    if point.validation_accuracy is None:
        return f"loss {point.loss:.3f}, accuracy {point.accuracy:.1%}"
    return f"loss {point.loss:.3f}, validation {point.validation_accuracy:.1%}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _nothing(_: object) -> None:
    """Tell nobody."""
