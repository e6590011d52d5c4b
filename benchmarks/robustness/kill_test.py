"""Kill the stages at random times, finish them, and compare with runs that were never killed.

    python -m benchmarks.robustness.kill_test --kills 25 --out kill_test.json

Each trial sends SIGKILL to a stage at a time drawn uniformly from that which it takes, possibly
several times, runs the same command again until it is done, and compares everything it wrote,
timings aside, with a run that was left alone. Prints a table; exits with 1 if anything differs.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from safetensors.torch import load_file

from benchmarks import ROOT

COMMANDS = {
    "prepare": (["prepare"], "data/prepared"),
    "train crest": (["train", "--method", "crest"], "artifacts/train/crest"),
    "train random": (["train", "--method", "random"], "artifacts/train/random"),
    "evaluate": (["evaluate", "--method", "crest"], "artifacts/evaluate/crest"),
    "reuse": (["reuse", "--model", "resnet20"], "artifacts/reuse/resnet20"),
}
# States are saved as often as their cost allows, so that kills fall between many of them.
OVERRIDES = ["-S", "run.save_interval=0.0", "-S", "train.budget=0.1"]


@dataclass
class Tally:
    """What happened to a stage."""

    seconds: float
    trials: int = 0
    kills: int = 0
    resumed: int = 0
    differences: int = 0


def start(project: Path, command: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *command, *OVERRIDES],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(project: Path, command: list[str]) -> float:
    """Run a command to its end; returns its seconds."""
    started = time.perf_counter()
    process = start(project, command)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{errors.decode()}")
    return time.perf_counter() - started


def kill(project: Path, command: list[str], delay: float) -> bool:
    """Start a command and kill it after a delay; whether it was still running."""
    process = start(project, command)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    return False


def without_times(value: object) -> object:
    """Drop everything that is a timing from a JSON value."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if "seconds" not in key}
    return value


def same_file(first: Path, second: Path) -> bool:
    if first.suffix == ".parquet":
        frames = [pl.read_parquet(path) for path in (first, second)]
        kept = [column for column in frames[0].columns if not column.startswith("seconds")]
        return frames[0].select(kept).equals(frames[1].select(kept))
    if first.suffix == ".safetensors":
        tensors = [load_file(path) for path in (first, second)]
        return tensors[0].keys() == tensors[1].keys() and all(
            torch.equal(value, tensors[1][name]) for name, value in tensors[0].items()
        )
    if first.suffix == ".json":
        values = [without_times(json.loads(path.read_text())) for path in (first, second)]
        return values[0] == values[1]
    return first.read_bytes() == second.read_bytes()


def differences(expected: Path, found: Path) -> list[str]:
    """Name the files that differ, are missing, or should not be there."""
    names = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for folder in (expected, found)
    ]
    unequal = [name for name in names[0] & names[1] if not same_file(expected / name, found / name)]
    beside = [path.name for path in found.parent.glob(".*") if path.name != ".gitignore"]
    return sorted((names[0] ^ names[1]) | set(unequal) | set(beside))


def trial(project: Path, reference: Path, stage: str, tally: Tally, dice: random.Random) -> None:
    """Kill a stage once, twice or three times, finish it, and compare."""
    command, output = COMMANDS[stage]
    shutil.rmtree(project / output, ignore_errors=True)
    for _ in range(dice.choice([1, 1, 2, 3])):
        tally.kills += kill(project, command, dice.uniform(0.0, tally.seconds))
        tally.resumed += any((project / ".resume").glob("*.safetensors"))
    finish(project, command)
    tally.trials += 1
    different = differences(reference / output, project / output)
    if list((project / ".resume").glob("*.safetensors")):
        different.append(".resume is not empty")
    if different:
        tally.differences += 1
        print(f"{stage}: differs in {', '.join(different)}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25, help="at least so many SIGKILLs")
    parser.add_argument("--seed", type=int, default=0, help="draws the times")
    parser.add_argument("--out", type=Path, help="where to write the table as JSON")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        reference, project = Path(folder, "reference"), Path(folder, "project")
        reference.mkdir()
        shutil.copy(ROOT / "params.yaml", reference)
        tallies = {
            stage: Tally(finish(reference, command)) for stage, (command, _) in COMMANDS.items()
        }
        shutil.copytree(reference, project)
        while sum(tally.kills for tally in tallies.values()) < arguments.kills:
            for stage, tally in tallies.items():
                trial(project, reference, stage, tally, dice)
    print(f"{'stage':14} {'seconds':>8} {'trials':>7} {'kills':>6} {'resumed':>8} {'differ':>7}")
    for stage, tally in tallies.items():
        print(
            f"{stage:14} {tally.seconds:8.1f} {tally.trials:7} {tally.kills:6} "
            f"{tally.resumed:8} {tally.differences:7}"
        )
    if arguments.out is not None:
        rows = {stage: vars(tally) for stage, tally in tallies.items()}
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(any(tally.differences for tally in tallies.values()))


if __name__ == "__main__":
    main()
