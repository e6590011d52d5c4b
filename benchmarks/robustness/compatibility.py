"""Run the adapters' tests and examples with the oldest and the newest version of each library.

    python -m benchmarks.robustness.compatibility
    python -m benchmarks.robustness.compatibility --try "trl==1.15.0 transformers==5.0.0"

Each row has an environment of its own, made with pip and deleted afterwards; those of a version of
PyTorch share its installation. ``--try`` has one row of pinned packages instead, the first of which
is the library; PyTorch is the newest unless pinned. Prints a Markdown table, the one of
docs/compatibility.md; exits with 1 if a row fails. Needs 6 GB a version of PyTorch and 1 GB more.
pip takes PyTorch from where it is set up to; an index of builds for CPUs saves most of that.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT

NEWEST = ""  # no version: what pip finds
OLDEST_TORCH = "2.11.0"
BASE = ["numpy", "polars", "pydantic", "safetensors", "scikit-learn", "hypothesis", "pytest"]
VERSIONS = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"


@dataclass(frozen=True)
class Library:
    """What is run of a library, and what its tests need beside it."""

    tests: list[str]
    example: list[str]
    with_others: tuple[str, ...] = ()


LIBRARIES = {
    "accelerate": Library(
        ["tests/integrations/test_accelerate.py"],
        ["accelerate_loop.py", "--steps", "20", "--workers", "1"],
    ),
    "transformers": Library(
        ["tests/integrations/test_transformers.py"],
        ["trainer_by_losses.py", "--steps", "20"],
        ("accelerate",),
    ),
    "trl": Library(
        ["tests/integrations/test_trl.py"],
        ["sft_by_losses.py", "--steps", "10"],
        ("transformers", "accelerate", "datasets"),
    ),
    "pytorch-lightning": Library(
        ["tests/integrations/test_lightning.py"], ["lightning_by_losses.py", "--steps", "20"]
    ),
    "torchdata": Library(
        ["tests/samplers/test_loss_batches.py", "-k", "stateful"], ["plain_pytorch.py"]
    ),
}
# The first that pass; docs/compatibility.md says what keeps those before them from it.
OLDEST = {
    "accelerate": {"accelerate": "1.1.0"},
    "transformers": {"transformers": "4.57.0", "accelerate": "1.4.0"},
    "trl": {
        "trl": "1.16.0", "transformers": "5.0.0", "accelerate": "1.10.1", "datasets": "4.7.0",
    },
    "pytorch-lightning": {"pytorch-lightning": "2.5.0"},
    "torchdata": {"torchdata": "0.10.0"},
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A library, and the versions to run it with; an empty one is the newest."""

    library: str
    pins: dict[str, str]

    @property
    def torch(self) -> str:
        return self.pins.get("torch", NEWEST)

    @property
    def names(self) -> list[str]:
        """Packages to install, in the order in which pip is to have them."""
        wanted = [*LIBRARIES[self.library].with_others, self.library]
        return sorted(wanted, key=lambda name: not self.pins.get(name))  # pinned ones first


@dataclass(frozen=True)
class Result:
    """What came of a row."""

    row: Row
    versions: dict[str, str]
    tests: str
    example: str

    @property
    def passed(self) -> bool:
        return (self.tests, self.example) == ("passes", "passes")


def rows() -> Iterator[Row]:
    """Yield the oldest and the newest of each library, with the oldest and the newest PyTorch."""
    for library in LIBRARIES:
        yield Row(library, {"torch": OLDEST_TORCH, **OLDEST[library]})
        yield Row(library, {})


class Environment:
    """A virtual environment, which sees what another has, pip too."""

    def __init__(self, folder: Path, under: "Environment | None" = None) -> None:
        self.python = folder / "bin" / "python"
        without_pip = ["--without-pip"] if under else []
        subprocess.run([sys.executable, "-m", "venv", *without_pip, str(folder)], check=True)
        if under is not None:
            (self.packages / "under.pth").write_text(f"{under.packages}\n", encoding="utf-8")

    @property
    def packages(self) -> Path:
        (found,) = self.python.parent.parent.glob("lib/python*/site-packages")
        return found

    def install(self, *requirements: str, constraints: Path | None = None) -> None:
        """Install with pip.

        Raises
        ------
        subprocess.CalledProcessError
            If there is no such thing; its ``stderr`` says why.
        """
        only = ["-c", str(constraints)] if constraints else []
        command = [str(self.python), "-m", "pip", "install", "-q", *only, *requirements]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python on the checkout, with nothing from a hub."""
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def versions(self, names: list[str]) -> dict[str, str]:
        return dict(zip(names, self.run("-c", VERSIONS, *names).stdout.split(), strict=True))


def base(folder: Path, torch: str) -> Environment:
    """Return the environment with a version of PyTorch, and what the library needs."""
    where = folder / f"torch-{torch or 'newest'}"
    made = Environment(where)
    if not (done := where / "installed").exists():
        made.install(requirement("torch", torch), *BASE)
        done.touch()
    return made


def requirement(name: str, version: str) -> str:
    return f"{name}=={version}" if version else name


def result_of(row: Row, folder: Path) -> Result:
    """Make the row's environment, run it, and delete what is its own."""
    under = base(folder, row.torch)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        environment = Environment(Path(own, "venv"), under)
        pins = Path(own, "constraints.txt")
        known = under.versions(["torch"]) | {name: row.pins.get(name, "") for name in row.names}
        lines = [requirement(name, version) for name, version in known.items() if version]
        pins.write_text("\n".join(lines), encoding="utf-8")
        try:
            for name in row.names:  # one after the other: all at once, pip may search for hours
                upgrade = [] if row.pins.get(name) else ["--upgrade"]
                environment.install(*upgrade, name, constraints=pins)
        except subprocess.CalledProcessError as error:
            return Result(row, known, f"cannot be installed: {last_line(error.stderr)}", "")
        versions = environment.versions(["torch", *row.names])
        library = LIBRARIES[row.library]
        settings = ["-p", "no:cacheprovider", "-n", "0"] if has_xdist(environment) else []
        tests = environment.run(
            "-m", "pytest", "-o", "filterwarnings=default", *settings, *library.tests
        )
        example, *options = library.example
        ran = environment.run(f"examples/{example}", *options)
    return Result(row, versions, verdict(tests), verdict(ran))


def has_xdist(environment: Environment) -> bool:
    return environment.run("-c", "import xdist").returncode == 0


def verdict(done: subprocess.CompletedProcess[str]) -> str:
    """Say that it passed, or the first thing that went wrong."""
    if done.returncode == 0:
        skipped = re.search(r"\d+ skipped", done.stdout)
        return skipped.group() if skipped else "passes"
    failures = re.findall(r"^E +(\S.*)", done.stdout, re.MULTILINE)
    return f"fails: {failures[0] if failures else last_line(done.stderr or done.stdout)}"


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing was said"])[-1]


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def table_line(result: Result) -> str:
    """Return the result as a line of the table."""
    library, versions = result.row.library, dict(result.versions)
    version = versions.pop(library, "")
    others = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    return line([library, version, others, result.tests, result.example])


def parsed(text: str) -> Row:
    """Return the row of requirements such as ``trl==1.16.0 transformers==5.0.0``."""
    pins = {name: version for name, _, version in (one.partition("==") for one in text.split())}
    library = next(iter(pins))
    if library not in LIBRARIES:
        sys.exit(f"error: --try: {library} is none of {', '.join(LIBRARIES)}")
    return Row(library, pins)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--try", dest="tried", action="append", type=parsed, metavar="PINS")
    parser.add_argument("--folder", type=Path, help="where installations of PyTorch are kept")
    arguments = parser.parse_args()
    print(line(["library", "version", "with", "its tests", "its example"]))
    print("|---|---|---|---|---|", flush=True)
    passed = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        for row in arguments.tried or rows():
            result = result_of(row, folder)
            print(table_line(result), flush=True)
            passed &= result.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
