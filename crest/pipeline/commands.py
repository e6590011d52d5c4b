"""What every command does around the stage that it calls: claims folders, says faults plainly."""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from crest.artifacts import claiming, reading
from crest.config import Parameters, load
from crest.errors import CrestError, Interrupted, ParameterError, needs_extra
from crest.pipeline.paths import Paths
from crest.pipeline.signals import raising

with needs_extra("pipeline"):
    import typer

PATHS = Paths()
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


def is_first_process() -> bool:
    """Whether this process is the one that writes, of those that a launcher has started."""
    return os.environ.get("RANK", "0") in ("", "0")


def seeds_of(parameters: Parameters, seed: int | None) -> tuple[int, ...]:
    """Return the one seed asked for, or all of run.seeds, of which there must be one."""
    seeds = parameters.run.seeds if seed is None else (seed,)
    if not seeds:
        raise ParameterError("repeat: which seeds? --seed 1, or list them in run.seeds")
    return seeds


def is_stdout(out: Path | None) -> bool:
    """Whether a file is the standard output under one of its names."""
    return str(out) in STDOUT


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
