"""What checksums and locks cost: this checkout's runs beside another's, and their share of a run.

    git worktree add ../before COMMIT
    python -m benchmarks.speed.checksums ../before --rounds 5 --out checksums.json
    python -m benchmarks.speed.checksums ../before --source CIFAR10 -S train.budget=0.02 ...
    python -m benchmarks.speed.checksums ../before --source CIFAR10 --stages prepare

Each round prepares the data (the bundled digits, or CIFAR-10 as Parquet in --source), trains and
evaluates with both checkouts in turn, as programs in project folders of their own; printed are the
ratios of wall-clock and of processor time, which other processes on the machine disturb less: the
median, and the least and greatest of the rounds. Then a training of this checkout runs in this
process, and the seconds within the functions that compute checksums and take locks are summed.
Without train among --stages there is none.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import ROOT
from benchmarks.shared import machine
from benchmarks.speed.builds import called
from crest.artifacts import locks, seals
from crest.data import verifying

STAGES = ("prepare", "train", "evaluate")
METHOD = "crest"
Seconds = dict[str, tuple[float, float]]


def write_parameters(folder: Path, checkout: Path, source: Path | None) -> None:
    """Write params.yaml as a checkout has it, for the bundled digits or CIFAR-10."""
    folder.mkdir(parents=True)
    shutil.copy(checkout / "params.yaml", folder)
    if source is not None:
        called(checkout, [str(checkout / "cli.py"), "preset", "cifar10-resnet20"], folder)
        values = yaml.safe_load((folder / "params.yaml").read_text())
        values["prepare"]["source"] = str(source.resolve())
        (folder / "params.yaml").write_text(yaml.safe_dump(values))


def timed(
    checkout: Path, project: Path, stages: Sequence[str], overrides: Sequence[str]
) -> Seconds:
    """Return the wall-clock and the processor seconds of each stage, run as a program."""
    found: Seconds = {}
    for stage in stages:
        method = [] if stage == "prepare" else ["--method", METHOD]
        options = [word for override in overrides for word in ("-S", override)]
        command = [str(checkout / "cli.py"), stage, *method, *options]
        found[stage] = called(checkout, command, project)
    return found


def ratios(
    rounds: Sequence[tuple[Seconds, Seconds]], stages: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return this checkout's seconds over the other's: median, least and greatest of the rounds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for stage in stages:
        found[stage] = {}
        for place, name in enumerate(("wall", "processor")):
            each = [here[stage][place] / before[stage][place] for before, here in rounds]
            found[stage][name] = {
                "median": statistics.median(each),
                "least": min(each),
                "greatest": max(each),
                "seconds": statistics.median(here[stage][place] for _, here in rounds),
            }
    return found


class Clock:
    """Sums the seconds within functions, and how often they were called."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    def watch(self, module: Any, name: str) -> None:
        """Time a function of a module from now on."""
        function: Callable[..., Any] = getattr(module, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                took = time.perf_counter() - started
                self.seconds[name] = self.seconds.get(name, 0.0) + took
                self.calls[name] = self.calls.get(name, 0) + 1

        setattr(module, name, watched)


def shares(project: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Train in this process; returns the seconds within checks, and of the whole run."""
    clock = Clock()
    for name in ("seal_parquet", "parquet_is_whole", "seal_tensors", "tensors_are_whole"):
        clock.watch(seals, name)
    clock.watch(verifying, "_hash")
    for name in ("_acquire", "_let_go", "_let_go_shared"):
        clock.watch(locks, name)

    from crest.config import load
    from crest.pipeline.paths import Paths
    from stages import train

    parameters = load(project / "params.yaml", overrides)
    started = time.perf_counter()
    train.run(parameters, Paths(project), METHOD, fresh=True)
    whole = time.perf_counter() - started
    spent = sum(clock.seconds.values())
    return {
        "seconds": whole,
        "checks": spent,
        "share": spent / whole,
        "each": clock.seconds,
        "calls": clock.calls,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, help="Another checkout.")
    parser.add_argument("--source", type=Path, help="CIFAR-10 as Parquet; without, the digits.")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-S", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    checkouts = {"before": given.before.resolve(), "here": ROOT}
    with tempfile.TemporaryDirectory() as folder:
        for name in checkouts:
            write_parameters(Path(folder) / name, checkouts[name], given.source)
        rounds = []
        for number in range(given.rounds):
            order = list(checkouts) if number % 2 == 0 else list(reversed(checkouts))
            done = {
                name: timed(checkouts[name], Path(folder) / name, given.stages, given.overrides)
                for name in order
            }
            rounds.append((done["before"], done["here"]))
        found = ratios(rounds, given.stages)
        trains = "train" in given.stages
        spent = shares(Path(folder) / "here", given.overrides) if trains else None
    for stage, kinds in found.items():
        for kind, value in kinds.items():
            spread = f"{value['least']:.3f} to {value['greatest']:.3f}"
            print(f"{stage:9} {kind:9} {value['median']:.3f} ({spread}), {value['seconds']:.2f} s")
    if spent is not None:
        share = f"{spent['share']:.2%}"
        print(f"checks    {spent['checks']:.4f} s of {spent['seconds']:.2f} s: {share}")
        for name, seconds in spent["each"].items():
            print(f"  {name:18} {seconds:.4f} s in {spent['calls'][name]} calls")
    if given.out:
        record = {"machine": machine.describe(), "ratios": found, "checks": spent}
        given.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
