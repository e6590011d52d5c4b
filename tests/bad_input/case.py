"""One way to get it wrong, and how a command meets it."""

import hashlib
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, chdir, nullcontext
from dataclasses import dataclass
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

import cli

Break = Callable[[], None]
Surroundings = Callable[[], AbstractContextManager[object]]


def nothing() -> None:
    """Leave the project whole: the command itself is wrong."""


@dataclass(frozen=True)
class Case:
    """One way to get it wrong.

    Parameters
    ----------
    expected
        The whole message after 'error: '; … stands for anything, such as what a library says.
    damage
        Breaks the project, its folder being the working folder.
    surroundings
        Holds while the command runs.
    """

    name: str
    command: str
    expected: str
    damage: Break = nothing
    code: int = 1
    surroundings: Surroundings = nullcontext

    def expects(self, message: str) -> bool:
        """Whether a message is the expected one."""
        pattern = ".*".join(map(re.escape, self.expected.split("…")))
        return re.fullmatch(pattern, message) is not None


def invoke(command: str) -> Result:
    """Run a command in the working folder."""
    return CliRunner().invoke(cli.app, shlex.split(command))


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and the files of the project before and after it."""

    result: Result
    before: dict[str, str]
    after: dict[str, str]

    @property
    def message(self) -> str:
        """What the command said, without 'error: '."""
        return self.result.stderr.strip().removeprefix("error: ")


def meet(case: Case, project: Path, folder: Path) -> Outcome:
    """Run a case in a copy of a whole project."""
    shutil.copytree(project, folder, dirs_exist_ok=True)
    with chdir(folder):
        case.damage()
        before = digests()
        with case.surroundings():
            result = invoke(case.command)
        return Outcome(result, before, digests())


def digests() -> dict[str, str]:
    """Return a digest of every file of the working folder, by its path."""
    return {
        path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path().rglob("*"))
        if path.is_file()
    }
