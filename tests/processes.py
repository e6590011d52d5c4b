"""Scripts in processes of their own, forked from one that has imported what takes long.

Of a process that trains a second, Python's start and the import of torch are four: tests whose
point is not the start itself run scripts here. The working folder, the environment, the arguments,
both outputs and the exit code are those of ``python script``.
"""

import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = get_context("forkserver")
# Packages of others only. An optimizer imports torch._dynamo.
CONTEXT.set_forkserver_preload(
    [
        *("torch._dynamo", "polars", "pydantic", "rich.console", "safetensors.torch"),
        *("sklearn.datasets", "torch.utils.data", "typer.testing"),
    ]
)
OUTPUTS = ("stdout", "stderr")


class Running:
    """A script that runs; its outputs are kept in files."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._outputs = tempfile.TemporaryDirectory()
        self._command = command
        arguments = (command, folder, dict(environment), self._outputs.name)
        self.process: BaseProcess = CONTEXT.Process(target=_run, args=arguments)
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self._outputs.cleanup()

    def wait(self, seconds: float = 240) -> "subprocess.CompletedProcess[str]":
        """Wait for the end; returns the exit code and what was said."""
        self.process.join(seconds)
        if self.poll() is None:
            self.kill()
            raise subprocess.TimeoutExpired(self._command, seconds)
        with self._outputs as folder:
            stdout, stderr = (Path(folder, name).read_text("utf-8") for name in OUTPUTS)
        return subprocess.CompletedProcess(self._command, self.process.exitcode, stdout, stderr)


def start(script: Path, *arguments: object, folder: Path = ROOT, **environment: object) -> Running:
    """Start a script of the repository in a folder, with variables beside this process's own."""
    variables = os.environ | {name: str(value) for name, value in environment.items()}
    return Running([str(script), *map(str, arguments)], folder, variables)


def run(
    script: Path, *arguments: object, folder: Path = ROOT, **environment: object
) -> "subprocess.CompletedProcess[str]":
    """Run a script to its end."""
    return start(script, *arguments, folder=folder, **environment).wait()


def run_ranks(
    count: int,
    script: Path,
    *arguments: object,
    folder: Path = ROOT,
    each: Sequence[Sequence[object]] = (),
) -> "list[subprocess.CompletedProcess[str]]":
    """Run a script on processes that train together, with the variables that torchrun sets.

    ``each`` are further arguments of each rank.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count}
    ranks = [
        start(script, *arguments, *own, folder=folder, RANK=rank, LOCAL_RANK=rank, **group)
        for rank, own in enumerate(each or [()] * count)
    ]
    return [rank.wait() for rank in ranks]


def _run(command: list[str], folder: Path, environment: dict[str, str], outputs: str) -> None:
    """Become the process that ``python script`` would be."""
    for number, name in enumerate(OUTPUTS, 1):
        file = os.open(Path(outputs, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    sys.path[:0] = [str(Path(command[0]).parent)]
    runpy.run_path(command[0], run_name="__main__")
