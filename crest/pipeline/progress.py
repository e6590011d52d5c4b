"""Progress on stderr, and only where a person watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crest.errors import needs_extra

with needs_extra("pipeline"):
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )


def columns() -> tuple[ProgressColumn, ...]:
    """Return what a bar consists of: title, bar, how many of how many, time left."""
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )


@contextmanager
def progress_bar(title: str, total: int, visible: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with how much is done; not ``visible``, nobody sees it."""
    console = Console(stderr=True)
    watched = visible and console.is_terminal
    with Progress(*columns(), console=console, disable=not watched) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)
