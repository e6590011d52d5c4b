"""What threads that wait for each other cost: sleeping against spinning, alone and beside others.

    python benchmarks/waiting.py --project FOLDER -S train.threads=2 -S train.budget=0.0005

FOLDER holds data/prepared and params.yaml. Every turn trains random from the start once with each
way of waiting, first with the machine as it is, then beside a process that keeps one core busy.
GNU's OpenMP, which PyTorch's wheels for Linux bring, lets a thread look so many times whether it
may go on (GOMP_SPINCOUNT) before it sleeps: never where it is passive, all but always where it is
active. Prints the milliseconds of a step, the first ones left out: the median of each run, of these
the median over the turns, and that against the passive one's in the same turn.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import polars as pl
from machine import describe

CLI = Path(__file__).parent.parent / "cli.py"
PASSIVE = "passive"
WAYS = {
    PASSIVE: {"OMP_WAIT_POLICY": "passive"},
    "10,000 looks": {"GOMP_SPINCOUNT": "10000"},
    "100,000 looks": {"GOMP_SPINCOUNT": "100000"},
    "active": {"OMP_WAIT_POLICY": "active"},
}
FIRST_STEPS = 5  # in which kernels are chosen


def main() -> None:
    """Run the turns, and print a table for each company."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("-S", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    for busy in (False, True):
        with busy_core(busy):
            turns = [
                {name: step_of(options.project, WAYS[name], options.overrides) for name in WAYS}
                for _ in range(options.turns)
            ]
        print("Beside a busy process:" if busy else "Alone:", flush=True)
        print("| waiting | ms a step | ÷ passive |", "|---|---|---|", sep="\n")
        for name in WAYS:
            print(row(name, turns), flush=True)
    print(describe(), f"{options.turns} turns; median (lowest to highest).", sep="\n")


@contextmanager
def busy_core(busy: bool) -> Iterator[None]:
    """Keep a core busy for the length of a block."""
    if not busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def step_of(project: Path, way: dict[str, str], overrides: list[str]) -> float:
    """Train once; returns the median milliseconds of a step."""
    unset = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    settings = [word for pair in overrides for word in ("-S", pair)]
    command = [sys.executable, str(CLI.resolve()), "train", "--method", "random", "--fresh"]
    subprocess.run(
        [*command, *settings],
        cwd=project,
        env={**environment, **way},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    steps = pl.read_parquet(project / "artifacts" / "train" / "random" / "steps.parquet")
    return 1000.0 * float(steps["seconds"].diff()[FIRST_STEPS:].median())


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
