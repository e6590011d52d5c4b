"""What another checkout's build costs, and this one's, beside each other in one run.

    git worktree add ../before COMMIT
    python -m benchmarks.speed.builds ../before --cifar10 FOLDER --out builds.json
    python -m benchmarks.speed.builds ../before --parts startup digits

Printed is this build over the other by the clock and by the processor's time, which other programs
on the machine disturb less: the median over the rounds and its quartiles.

startup: importing the library, the help of the command line, and a training of ten steps.
digits: milliseconds of a step of random, focused and crest (convnet, m = 32, one thread, float32,
the parameters that each checkout has as its defaults), beside a plain torch loop.
cifar10: the same of ResNet-20, m = 128, with crest as in the preset cifar10-resnet20-economical,
from CIFAR-10 as Parquet in --cifar10.
memory: the highest anonymous memory of a training on so many tiny images as --examples says.

Both builds and the loop by hand train in processes of their own that take turns, --block steps
each, in one order and then in the other; the first block, in which they start, does not count.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks import ROOT
from benchmarks.shared import machine
from benchmarks.shared.stage_memory import Usage, measure
from benchmarks.shared.synthetic import write_split
from benchmarks.shared.turns import Turns
from benchmarks.speed.loop import BareLoop, fresh_model
from crest.parameters.renamed import PRESETS

PARTS = ("startup", "digits", "cifar10", "memory")
METHODS = ("random", "focused", "crest")
BUILDS = ("before", "here")
TURNS = ROOT / "benchmarks" / "shared" / "turns.py"
# What a run does besides its steps is left out: states, validation, snapshots.
QUIET = {"save_interval": 1e6, "validations": 1, "snapshots": 0, "device": "cpu", "threads": 1}
SIDE = 8  # pixels of the images of the part memory
Pair = tuple[float, float]  # seconds of the clock and of the processor


@dataclass(frozen=True)
class Case:
    """What is trained in turns: a preset, the model of the loop by hand, and the examples."""

    preset: str
    model: str
    batch_size: int
    precision: str
    augmented: bool
    examples: int


CASES = {
    "digits": Case("digits", "convnet", 32, "float32", False, 1297),
    "cifar10": Case("cifar10-resnet20-economical", "resnet20", 128, "auto", True, 50_000),
}


@dataclass
class Program:
    """A process that takes turns, and what its turns took."""

    process: subprocess.Popen[bytes]
    go: int
    done: int
    turns: list[Pair] = field(default_factory=list)

    def turn(self) -> None:
        """Let it take its steps, and wait for it."""
        os.write(self.go, b"g")
        line = b""
        while not line.endswith(b"\n"):
            some = os.read(self.done, 100)
            if not some:
                raise SystemExit(f"a training ended early, with {self.process.wait()}")
            line += some
        seconds, processor = map(float, line.split())
        self.turns.append((seconds, processor))


@contextmanager
def program(command: Callable[[int, int], Sequence[str]], folder: Path) -> Iterator[Program]:
    """Run what takes turns for the length of a block; ``command`` is given its descriptors."""
    go_read, go = os.pipe()
    done, done_write = os.pipe()
    process = subprocess.Popen(
        command(go_read, done_write),
        cwd=folder,
        pass_fds=(go_read, done_write),
        stdout=subprocess.DEVNULL,
    )
    os.close(go_read)
    os.close(done_write)
    try:
        yield Program(process, go, done)
    finally:
        process.kill()
        process.wait()
        os.close(go)
        os.close(done)


def take_turns(
    commands: Mapping[str, tuple[Callable[[int, int], Sequence[str]], Path]], rounds: int
) -> dict[str, list[Pair]]:
    """Return what the turns of each program took, per round, without the first."""
    with ExitStack() as stack:
        programs = {
            name: stack.enter_context(program(command, folder))
            for name, (command, folder) in commands.items()
        }
        for number in range(rounds + 1):
            order = list(programs) if number % 2 else list(reversed(programs))
            for name in order:
                programs[name].turn()
        return {name: each.turns[1:] for name, each in programs.items()}


def compare(mine: Sequence[Pair], others: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Return the ratios of two programs' rounds, by the clock and by the processor."""
    found = {}
    for place, kind in enumerate(("clock", "processor")):
        ratios = [one[place] / other[place] for one, other in zip(mine, others, strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        whole = sum(one[place] for one in mine) / sum(other[place] for other in others)
        found[kind] = {"median": median, "low": low, "high": high, "of_totals": whole}
    return found


def show(name: str, ratios: Mapping[str, Mapping[str, float]], values: str) -> None:
    """Print a row."""
    cells = [
        f"{each['of_totals']:.3f} ({each['median']:.3f}; {each['low']:.3f} to {each['high']:.3f})"
        for each in ratios.values()
    ]
    print(f"{name:32} {cells[0]:34} {cells[1]:34} {values}", flush=True)


def called(checkout: Path, command: Sequence[str], folder: Path) -> Pair:
    """Return what a program of a checkout takes from its start to its end."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_parameters(
    checkout: Path, folder: Path, preset: str, train: Mapping[str, Any], source: Path | None
) -> None:
    """Write params.yaml as a checkout has it, under a preset; keys in whatever section has them."""
    folder.mkdir(parents=True)
    file = folder / "params.yaml"
    shutil.copy(checkout / "params.yaml", file)
    if not (checkout / "crest" / "presets" / f"{preset}.yaml").exists():
        preset = next(then for then, now in PRESETS.items() if now == preset)
    called(checkout, [str(checkout / "cli.py"), "preset", preset], folder)
    values = yaml.safe_load(file.read_text())
    for name, value in {**QUIET, **train}.items():
        section = next(own for own in values.values() if own and name in own)
        section[name] = value
    if source is not None:
        values["prepare"]["source"] = str(source.resolve())
    file.write_text(yaml.safe_dump(values))


def steps_of(case: Case, steps: int) -> dict[str, Any]:
    """Return the parameters of a run of about so many steps, as a tenth of full training."""
    epochs = 10.0 * steps * case.batch_size / case.examples
    return {"epochs": epochs, "budget": 0.1, "precision": case.precision}


def measure_startup(builds: Mapping[str, Path], root: Path, rounds: int) -> list[dict[str, Any]]:
    """Start programs of both builds in turns."""
    for name, checkout in builds.items():
        train = steps_of(CASES["digits"], 10)
        write_parameters(checkout, root / name, "digits", train, None)
        called(checkout, [str(checkout / "cli.py"), "prepare"], root / name)
    commands = {
        "import crest": lambda checkout: ["-c", "import crest"],
        "cli.py --help": lambda checkout: [str(checkout / "cli.py"), "--help"],
        "cli.py train, 10 steps": lambda checkout: [
            *(str(checkout / "cli.py"), "train", "--method", "random", "--fresh")
        ],
    }
    rows = []
    for title, command in commands.items():
        taken: dict[str, list[Pair]] = {name: [] for name in builds}
        for number in range(rounds + 1):
            for name in BUILDS if number % 2 else reversed(BUILDS):
                taken[name].append(called(builds[name], command(builds[name]), root / name))
        ratios = compare(taken["here"][1:], taken["before"][1:])
        seconds = {name: statistics.median(one for one, _ in each) for name, each in taken.items()}
        show(title, ratios, f"{seconds['here']:.3f} s, {seconds['before']:.3f} s before")
        rows.append({"what": title, "ratios": ratios, "seconds": seconds})
    return rows


def measure_steps(
    name: str, builds: Mapping[str, Path], root: Path, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train with both builds and by hand in turns."""
    case, block, rounds = CASES[name], arguments.block, arguments.rounds
    source = arguments.cifar10 if name == "cifar10" else None
    train = steps_of(case, (rounds + 2) * block)
    for build, checkout in builds.items():
        write_parameters(checkout, root / name / build, case.preset, train, source)
        if build == "before":
            called(checkout, [str(checkout / "cli.py"), "prepare"], root / name / build)
        else:
            (root / name / build / "data").symlink_to(root / name / "before" / "data")
    rows = []
    for method in arguments.methods:
        commands: dict[str, tuple[Callable[[int, int], Sequence[str]], Path]] = {
            build: (_training(checkout, block, method), root / name / build)
            for build, checkout in builds.items()
        }
        commands["by hand"] = (_plain_loop(name, block), root / name / "before")
        taken = take_turns(commands, rounds)
        steps = {who: _milliseconds(turns, block) for who, turns in taken.items()}
        row: dict[str, Any] = {"what": f"{name}, {method}", "milliseconds": steps}
        for who, other in (("here", "before"), ("here", "by hand"), ("before", "by hand")):
            ratios = row[f"{who} / {other}"] = compare(taken[who], taken[other])
            values = f"{steps[who]:.3f} ms, {steps[other]:.3f} ms"
            show(f"{name}, {method}, {who} ÷ {other}", ratios, values)
        rows.append(row)
    return rows


def _training(checkout: Path, block: int, method: str) -> Callable[[int, int], Sequence[str]]:
    train = ("train", "--method", method, "--fresh")
    return lambda go, done: [
        *(sys.executable, str(TURNS), str(checkout), str(block), str(go), str(done), *train)
    ]


def _plain_loop(name: str, block: int) -> Callable[[int, int], Sequence[str]]:
    start = f"import sys; sys.path[0] = {str(ROOT)!r}; from benchmarks.speed import builds"
    return lambda go, done: [
        *(sys.executable, "-c"),
        f"{start}; builds.{plain_loop.__name__}({name!r}, {block}, {go}, {done})",
    ]


def _milliseconds(turns: Sequence[Pair], block: int) -> float:
    return 1000 * statistics.median(processor for _, processor in turns) / block


def plain_loop(name: str, block: int, go: int, done: int) -> None:
    """Train as one writes it by hand, in turns; a program of its own."""
    turns, case, folder = Turns(block, go, done), CASES[name], Path("data/prepared")
    torch.set_num_threads(1)
    from crest.devices.precision import resolve_precision
    from crest.pipeline.process import keep_freed_memory

    keep_freed_memory()
    precision = resolve_precision(case.precision, torch.device("cpu"))
    meta = json.loads((folder / "meta.json").read_text())
    model = fresh_model(case.model, len(meta["classes"]), meta["image_shape"])
    bare = BareLoop(model.train(), folder, case.batch_size, precision.name, case.augmented)
    while True:
        bare.step()
        turns.step()


def measure_memory(
    builds: Mapping[str, Path], root: Path, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train on many images of 8×8 with both builds, and sample their memory."""
    source, train = root / "memory" / "source", steps_of(CASES["digits"], 300)
    source.mkdir(parents=True)
    write_split(source, "train", arguments.examples, SIDE)
    write_split(source, "test", 1000, SIDE)
    train["epochs"] *= CASES["digits"].examples / arguments.examples
    for build, checkout in builds.items():
        folder = root / "memory" / build
        write_parameters(checkout, folder, "digits", train, source)
        values = yaml.safe_load((folder / "params.yaml").read_text())
        values["prepare"]["dataset"] = "parquet"
        (folder / "params.yaml").write_text(yaml.safe_dump(values))
        if build == "before":
            called(checkout, [str(checkout / "cli.py"), "prepare"], folder)
        else:
            (folder / "data").symlink_to(root / "memory" / "before" / "data")
    rows = []
    for method in arguments.methods:
        options = ("train", "--method", method, "--fresh")
        peaks: dict[str, list[Usage]] = {name: [] for name in builds}
        for _ in range(3):
            for build, checkout in builds.items():
                folder = root / "memory" / build
                peaks[build].append(
                    measure(folder, arguments.examples, *options, checkout=checkout)
                )
        found = {
            name: statistics.median(usage.anonymous for usage in each)
            for name, each in peaks.items()
        }
        ratio = found["here"] / found["before"]
        what = f"memory, {method}, {arguments.examples} examples"
        print(f"{what:48} {ratio:.3f} {found['here']:.0f} MiB, {found['before']:.0f} MiB before")
        rows.append({"what": what, "MiB": found, "ratio": ratio})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, help="Another checkout.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--cifar10", type=Path, help="CIFAR-10 as Parquet, for that part.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--block", type=int, default=64, help="steps of a turn")
    parser.add_argument("--examples", type=int, default=1_000_000, help="of the part memory")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    builds = {"before": arguments.before.resolve(), "here": ROOT}
    rows: list[dict[str, Any]] = []
    title = "of totals (median; quartiles)"
    print(f"{'':32} {'clock: ' + title:34} {'processor: ' + title:34} of a step, or of all")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if "startup" in arguments.parts:
            rows += measure_startup(builds, root / "startup", arguments.rounds)
        for name in ("digits", "cifar10"):
            if name in arguments.parts and (name == "digits" or arguments.cifar10):
                rows += measure_steps(name, builds, root, arguments)
        if "memory" in arguments.parts:
            rows += measure_memory(builds, root, arguments)
    if arguments.out:
        record = {"machine": machine.describe(), "rows": rows}
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
