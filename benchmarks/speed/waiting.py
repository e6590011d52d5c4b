"""What threads that wait for each other cost: sleeping against spinning, alone and beside others.

    python -m benchmarks.speed.waiting --project FOLDER -S train.threads=2 -S train.budget=0.0005

FOLDER holds data/prepared and params.yaml. Every turn trains random from the start once with each
way of waiting: with the machine as it is, beside a process that keeps one core busy, and beside
another training that waits the same way.
GNU's OpenMP, which PyTorch's wheels for Linux bring, lets a thread check so many times whether it
may go on (GOMP_SPINCOUNT) before it sleeps: never where it is passive, all but always where it is
active. Prints the milliseconds of a step, the first ones left out: the median of each run, of these
the median over the turns, and that against the passive one's in the same turn.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import polars as pl

from benchmarks import ROOT
from benchmarks.shared.machine import describe

CLI = ROOT / "cli.py"
PASSIVE = "passive"
WAYS = {
    PASSIVE: {"OMP_WAIT_POLICY": "passive"},
    "10,000 spins": {"GOMP_SPINCOUNT": "10000"},
    "100,000 spins": {"GOMP_SPINCOUNT": "100000"},
    "active": {"OMP_WAIT_POLICY": "active"},
}
FIRST_STEPS = 5  # in which kernels are chosen
START_SECONDS = 10  # until the training beside takes its steps


def main() -> None:
    """Run the turns, and print a table for each company."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("-S", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    for title, company in COMPANIES.items():
        turns = []
        for _ in range(options.turns):
            turn = {}
            for name, way in WAYS.items():
                with company(options.project, way, options.overrides):
                    turn[name] = step_of(options.project, way, options.overrides)
            turns.append(turn)
        print(f"{title}:", flush=True)
        print("| waiting | ms a step | ÷ passive |", "|---|---|---|", sep="\n")
        for name in WAYS:
            print(row(name, turns), flush=True)
    print(describe(), f"{options.turns} turns; median (lowest to highest).", sep="\n")


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process with the block; raises SystemExit if it ended by itself before."""
    try:
        yield
        if process.poll() is not None:
            raise SystemExit("the process beside ended too early: its times say nothing")
    finally:
        process.kill()
        process.wait()


@contextmanager
def alone(project: Path, way: dict[str, str], overrides: list[str]) -> Iterator[None]:
    """Add nothing to what the machine does."""
    yield


@contextmanager
def beside_a_busy_process(
    project: Path, way: dict[str, str], overrides: list[str]
) -> Iterator[None]:
    """Keep a core busy."""
    with running(subprocess.Popen([sys.executable, "-c", "while True: pass"])):
        yield


@contextmanager
def beside_another_training(
    project: Path, way: dict[str, str], overrides: list[str]
) -> Iterator[None]:
    """Train on the same data, in a folder of its own, for longer than what is timed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(project / "params.yaml", folder)
        (folder / "data").symlink_to((project / "data").resolve())
        longer = [*overrides, "train.budget=1.0", "train.epochs=1000"]
        process = subprocess.Popen(
            command(longer), cwd=folder, env=environment(way), stdout=subprocess.DEVNULL
        )
        with running(process):
            time.sleep(START_SECONDS)
            yield


COMPANIES = {
    "Alone": alone,
    "Beside a busy process": beside_a_busy_process,
    "Beside another training": beside_another_training,
}


def command(overrides: list[str]) -> list[str]:
    """Return what trains random from the start."""
    settings = [word for pair in overrides for word in ("-S", pair)]
    return [
        *(sys.executable, str(CLI), "train", "--method", "random", "--fresh"),
        *settings,
    ]


def environment(way: dict[str, str]) -> dict[str, str]:
    """Return the environment in which threads wait this way."""
    unset = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    return {name: value for name, value in os.environ.items() if name not in unset} | way


def step_of(project: Path, way: dict[str, str], overrides: list[str]) -> float:
    """Train once; returns the median milliseconds of a step."""
    subprocess.run(
        command(overrides),
        cwd=project,
        env=environment(way),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    steps = pl.read_parquet(project / "artifacts" / "train" / "random" / "steps.parquet")
    return 1000.0 * median(steps["seconds"].diff()[FIRST_STEPS:].to_list())


def row(name: str, turns: list[dict[str, float]]) -> str:
    """Return a row of a table."""
    cells = [name]
    for values, form in (
        ([turn[name] for turn in turns], ".3g"),
        ([turn[name] / turn[PASSIVE] for turn in turns], ".2f"),
    ):
        low, high = min(values), max(values)
        cells.append(f"{median(values):{form}} ({low:{form}}–{high:{form}})")
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
