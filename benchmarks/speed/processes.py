"""What several processes exchange and take, and whether they come to the same coresets.

    python -m benchmarks.speed.processes --project FOLDER -S train.micro_batches=4 \
        -S train.budget=0.05

FOLDER holds data/prepared and params.yaml. Every turn trains crest from the start once for each
number of processes, one thread each; the first turn warms up. Prints medians over the turns:
wall-clock milliseconds of a step's training, of choosing and of the quadratic model, the bytes that
a process puts into sums, and whether coresets and losses are those of one process, bit for bit.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import polars as pl

from benchmarks import ROOT
from benchmarks.shared.machine import describe

CLI = ROOT / "cli.py"
TABLE = "| processes | train | select | model | check | bytes a step | bytes a region | same |"


def main() -> None:
    """Run the turns, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("-S", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    counts = [int(count) for count in options.processes.split(",")]
    runs: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    same = dict.fromkeys(counts, True)
    first: tuple[pl.DataFrame, pl.Series] | None = None
    for _ in range(options.turns):
        for count in counts:
            runs[count].append(run(options.project, count, options.overrides))
            found = tables(options.project)
            first = first or found
            same[count] &= found[0].equals(first[0]) and found[1].equals(first[1])
    print(TABLE, "|---|---|---|---|---|---|---|---|", sep="\n")
    for count in counts:
        print(row(count, runs[count][1:], same[count]))
    print(
        describe(), f"{options.turns - 1} turns; ms a step, median (lowest to highest).", sep="\n"
    )


def run(project: Path, processes: int, overrides: list[str]) -> dict[str, float]:
    """Train once; returns the metrics."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone"]
        launcher += [f"--nproc-per-node={processes}"]
    settings = [word for pair in overrides for word in ("-S", pair)]
    command = [*launcher, str(CLI), "train", "--method", "crest", "--json", "--fresh"]
    done = subprocess.run(
        [*command, *settings],
        cwd=project,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    metrics = json.loads(done.stdout.strip().splitlines()[-1])
    steps, regions = metrics["steps"], metrics["regions"]
    exchanged = metrics.get("bytes_exchanged", 0)
    parts = {name: 1000 * seconds / steps for name, seconds in metrics["seconds"].items()}
    return {**parts, "step": exchanged / steps, "region": exchanged / regions}


def tables(project: Path) -> tuple[pl.DataFrame, pl.Series]:
    """Return the coresets and the losses of the last run."""
    folder = project / "artifacts" / "train" / "crest"
    losses = pl.read_parquet(folder / "steps.parquet")["loss"]
    return pl.read_parquet(folder / "coresets.parquet"), losses


def row(processes: int, runs: list[dict[str, float]], same: bool) -> str:
    """Return a row of the table."""
    cells = [str(processes)]
    for part in ("train", "select", "model", "check"):
        values = [one[part] for one in runs]
        cells.append(f"{median(values):.3g} ({min(values):.3g}–{max(values):.3g})")
    cells += [f"{median(one[name] for one in runs):,.0f}" for name in ("step", "region")]
    return "| " + " | ".join([*cells, "yes" if same else "no"]) + " |"


if __name__ == "__main__":
    main()
