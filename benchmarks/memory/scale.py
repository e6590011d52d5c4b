"""Anonymous memory and processor time of training, by the number of training images.

    python -m benchmarks.memory.scale --out scale.json

Writes prepared arrays of synthetic images, a block at a time, for each size to a temporary folder,
and trains on them with random, with crest as published (r = 500), with crest as the economical
preset has it and with the focus alone, each in a process of its own that does what `train` does:
opens the arrays, trains, saves its state once two thirds of the way, and writes its tables. The
system is asked to drop the arrays from memory before, so that they are read from the disk; with
--small-memory they are opened as if they did not fit into the memory.

Another process samples the memory. Anonymous memory is what the process needs; pages of mapped
files are counted apart, since the system takes them back when it needs them, and they are held once
for all processes. The prediction counts the arrays of n that a method keeps (:data:`KEPT`).
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared import machine
from benchmarks.shared.synthetic import write_image_meta
from crest.config import Parameters, parse
from crest.data import opening
from crest.data.splits import ArrayFile
from crest.methods import METHODS
from crest.models import spec_for
from crest.pipeline.inputs import configure_torch, fresh_model, prepared_data, run_precision
from crest.pipeline.paths import Paths
from crest.pipeline.runs import Trained, context_of, write
from crest.presets import presets
from crest.training import loop
from crest.training.state import Checkpoint, State

BATCH = 128
TEST = 1000  # examples
BLOCK = 50_000  # examples written at once
WARM_UP = 20  # steps that do not count for the time of one
POLL = 0.002  # seconds between samples of memory
SUBSET = 500  # r of the published algorithm: a share of n would grow with n
NOISE = 160  # values that noise takes, of 256

# Method and preset of each row.
ROWS: Mapping[str, tuple[str, str]] = {
    "random": ("random", "cifar10-resnet20"),
    "crest, published": ("crest", "cifar10-resnet20"),
    "crest, economical": ("crest", "cifar10-resnet20-economical"),
    "focused": ("focused", "cifar10-resnet20-economical"),
}

TRACKER = 25  # seen, correct, forgotten, first learned 4 each; sum of losses 8; was right 1
# Of examples as they are trained on: seen early 4, sum of errors 8, class taken for 4, its lead 4,
# first visits 4, sums of two probabilities 4 each.
ERRORS = 32
ACTIVE = 12  # members, places, excluded at 4 each
LEFT = 4  # of the pass or the round
LOSS = 4  # the last of each
# Bytes an example of what is kept from the first step to the last: constant, and how many a class.
KEPT: Mapping[str, tuple[int, int]] = {
    "random": (TRACKER + ERRORS + LEFT, 0),
    "crest, published": (2 * TRACKER + ERRORS + ACTIVE, 0),
    "crest, economical": (2 * TRACKER + ERRORS + ACTIVE + LEFT + LOSS, 2),
    "focused": (TRACKER + ERRORS + ACTIVE + LEFT + LOSS, 0),
}
PHASES = ("open", "train", "save", "write")


@dataclass
class Outcome:
    """What one run took; memory in bytes."""

    examples: int
    row: str
    anonymous: dict[str, int] = field(default_factory=dict)  # imported, start, middle, end
    peaks: dict[str, int] = field(default_factory=dict)  # by phase
    mapped: int = 0  # pages of files at the end, in the process
    read: int = 0  # bytes from the disk while training
    opened: float = 0.0  # processor seconds until the first step
    first: float = 0.0  # processor seconds of the first step
    steps: list[float] = field(default_factory=list)  # processor seconds of each other step
    regions: int = 0
    accuracy: float = 0.0  # of the last steps

    @property
    def seconds(self) -> float:
        """Processor seconds a step, choosing included, the first steps left out."""
        return statistics.fmean(self.steps[WARM_UP:])


def write_data(folder: Path, examples: int, side: int, classes: int) -> None:
    """Write prepared arrays, a block at a time: a pattern for each class, and noise over it."""
    folder.mkdir(parents=True)
    shape = (side, side, 3)
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256 - NOISE, (classes, *shape), dtype=np.uint8)
    for split, count in (("train", examples), ("test", TEST)):
        labels = ArrayFile(folder / f"{split}_labels.npy", np.int64)
        images = ArrayFile(folder / f"{split}_images.npy", np.uint8, shape)
        with labels, images:
            for start in range(0, count, BLOCK):
                some = random.integers(0, classes, min(BLOCK, count - start))
                noise = random.integers(0, NOISE, (len(some), *shape), dtype=np.uint8)
                labels.append(some)
                images.append(noise + patterns[some])
    write_image_meta(folder, examples, TEST, classes, side)


def drop_from_memory(folder: Path) -> None:
    """Tell the system that the arrays need not be kept in memory; they are on the disk then."""
    for path in folder.glob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def parameters_of(row: str, examples: int, steps: int, model: str) -> Parameters:
    """Return the parameters of a run of so many steps, whatever the number of examples."""
    _, preset = ROWS[row]
    sections: dict[str, dict[str, Any]] = {
        name: dict(values)
        for name, values in presets()[preset].items()
        if name in ("train", "crest")
    }
    sections["train"] |= {
        "model": model,
        "epochs": 10 * steps * BATCH / examples,
        "budget": 0.1,
        "batch_size": BATCH,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
        "snapshots": 0,
    }
    if row != "crest, economical":
        sections["crest"]["subset_size"] = SUBSET
    return parse(sections, row)


def status(process: int | str) -> tuple[int, int]:
    """Return the anonymous memory of a process and its pages of files, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    anonymous, mapped = (int(found[key].split()[0]) * 1024 for key in ("RssAnon", "RssFile"))
    return anonymous, mapped


def read_bytes() -> int:
    """Return how much this process has read from the disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


class Watch:
    """Called at each step: notes the time it took, and memory at some of them."""

    def __init__(self, outcome: Outcome, steps: int, connection: Connection) -> None:
        self._outcome = outcome
        self._steps = steps
        self._connection = connection
        outcome.anonymous["start"], _ = status("self")
        self._read = read_bytes()
        connection.send("train")
        self._saving = False
        self._before = time.process_time()

    def __call__(self, taken: int) -> None:
        now = time.process_time()
        if self._saving:
            self._connection.send("train")
        self._saving = False
        if taken == 1:
            self._outcome.first = now - self._before
        else:
            self._outcome.steps.append(now - self._before)
        if taken == self._steps // 2:
            self._outcome.anonymous["middle"], _ = status("self")
        if taken == self._steps:
            self._outcome.anonymous["end"], self._outcome.mapped = status("self")
            self._outcome.read = read_bytes() - self._read
            self._connection.send("write")
        self._before = time.process_time()

    def save(self) -> None:
        """Take note that the state is to be saved before the next step."""
        self._saving = True
        self._connection.send("save")

    def saved(self) -> None:
        """Take note that it is; the step begins now."""
        self._before = time.process_time()


class SavedOnce(Checkpoint):
    """A checkpoint whose state is saved before one step, which counts to the memory of saving."""

    def __init__(self, path: Path, step: int, watch: Watch) -> None:
        super().__init__(path, {}, 0.0)
        self._waiting = step
        self._watch = watch

    def due(self) -> bool:
        self._waiting -= 1
        if self._waiting == -1:
            self._watch.save()
        return self._waiting == -1

    def save(self, state: State) -> None:
        super().save(state)
        self._watch.saved()


def work(
    root: Path,
    outcome: Outcome,
    steps: int,
    model_name: str,
    small_memory: bool,
    connection: Connection,
) -> None:
    """Do what `train` does: the process that is watched."""
    if small_memory:
        opening.physical_memory = lambda: 0
    outcome.anonymous["imported"], _ = status("self")
    connection.send("open")
    started = time.process_time()
    parameters = parameters_of(outcome.row, outcome.examples, steps, model_name)
    method, _ = ROWS[outcome.row]
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = prepared_data(parameters, Paths(root), precision.device)
    spec = spec_for(parameters.train, data.meta)
    model = fresh_model(spec, 0, precision.device)
    context = context_of(parameters, method, data, model, steps, precision)
    chooser = METHODS[method].build(context)
    outcome.opened = time.process_time() - started
    watch = Watch(outcome, steps, connection)
    checkpoint = SavedOnce(root / "state.safetensors", 2 * steps // 3, watch)
    done = loop.train(
        model, chooser, data.train, None, steps, parameters.train, precision, watch, checkpoint
    )
    folder = root / outcome.row
    folder.mkdir()
    described = {"data": {"content_hash": "none"}}
    write(Trained(model, spec, done, {"run": "none"}, described), folder)
    connection.send("done")
    outcome.regions = 0 if done.record.regions is None else len(done.record.regions)
    outcome.accuracy = statistics.mean(done.steps["accuracy"].tail(max(1, steps // 10)))
    connection.send(outcome)


def measure(root: Path, examples: int, row: str, arguments: argparse.Namespace) -> Outcome:
    """Run one row in a process of its own, and watch its memory from here."""
    drop_from_memory(Paths(root).prepared)
    spawning = multiprocessing.get_context("spawn")
    connection, other = spawning.Pipe()
    settings = (arguments.steps, arguments.model, arguments.small_memory)
    options = (root, Outcome(examples, row), *settings, other)
    process = spawning.Process(target=work, args=options, daemon=True)
    process.start()
    other.close()
    peaks = dict.fromkeys(PHASES, 0)
    phase = connection.recv()
    while phase != "done":
        while not connection.poll(POLL):
            peaks[phase] = max(peaks[phase], status(str(process.pid))[0])
        phase = connection.recv()
    outcome: Outcome = connection.recv()
    process.join()
    outcome.peaks = peaks
    return outcome


def predicted(row: str, examples: int, classes: int) -> int:
    """Return the bytes that arrays of n take."""
    constant, each_class = KEPT[row]
    return (constant + each_class * classes) * examples


def show(outcomes: list[Outcome], classes: int) -> None:
    print(
        f"{'n':>9} {'row':17} {'start':>6} {'middle':>6} {'end':>6} "
        f"{'peak: open':>10} {'train':>6} {'save':>6} {'write':>6} {'mapped':>7} {'read':>6}  MiB"
    )
    for outcome in outcomes:
        memory_marks = " ".join(
            f"{outcome.anonymous[mark] / 2**20:6.0f}" for mark in ("start", "middle", "end")
        )
        peaks = " ".join(
            f"{outcome.peaks[phase] / 2**20:{width}.0f}"
            for phase, width in zip(PHASES, (10, 6, 6, 6), strict=True)
        )
        print(
            f"{outcome.examples:9} {outcome.row:17} {memory_marks} {peaks} "
            f"{outcome.mapped / 2**20:7.0f} {outcome.read / 2**20:6.0f}"
        )
    print(
        f"\n{'n':>9} {'row':17} {'opened':>7} {'first':>7} {'a step':>8} {'ratio':>6} "
        f"{'regions':>7} {'accuracy':>8}   processor seconds"
    )
    smallest = {outcome.row: outcome for outcome in reversed(outcomes)}
    for outcome in outcomes:
        ratio = outcome.seconds / smallest[outcome.row].seconds
        print(
            f"{outcome.examples:9} {outcome.row:17} {outcome.opened:5.2f} s {outcome.first:5.2f} s "
            f"{1000 * outcome.seconds:5.1f} ms {ratio:6.2f} {outcome.regions:7} "
            f"{outcome.accuracy:8.3f}"
        )
    print(f"\n{'row':17} {'from n':>9} {'to n':>9} {'predicted':>9} {'held':>6}  bytes an example")
    for outcome in outcomes:
        first = smallest[outcome.row]
        if outcome.examples > first.examples:
            print(growth(first, outcome, classes))


def growth(first: Outcome, outcome: Outcome, classes: int) -> str:
    """Return a line: what an example more takes at the end, and at the peak of each phase."""
    more = outcome.examples - first.examples
    held = (outcome.anonymous["end"] - first.anonymous["end"]) / more
    peaks = (
        f"{phase} {(outcome.peaks[phase] - first.peaks[phase]) / more:.0f}" for phase in PHASES
    )
    expected = predicted(outcome.row, more, classes) / more
    return (
        f"{outcome.row:17} {first.examples:9} {outcome.examples:9} {expected:9.0f} "
        f"{held:6.1f}  peaks: {', '.join(peaks)}"
    )


def run(arguments: argparse.Namespace) -> list[Outcome]:
    """Measure every row at every size; data are removed before those of the next size."""
    outcomes = []
    for examples in arguments.examples:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            root = Path(name)
            write_data(Paths(root).prepared, examples, arguments.side, arguments.classes)
            for row in arguments.rows:
                outcomes.append(measure(root, examples, row, arguments))
                for path in root.glob("state.*"):
                    path.unlink()
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--examples", type=int, nargs="+", default=[50_000, 500_000, 5_000_000], help="rising"
    )
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--side", type=int, default=16, help="pixels of the images")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--model", default="convnet")
    parser.add_argument("--small-memory", action="store_true")
    parser.add_argument("--folder", type=Path, help="where there is room for the data")
    parser.add_argument("--out", type=Path, help="where to write everything as JSON")
    arguments = parser.parse_args()
    outcomes = run(arguments)
    show(outcomes, arguments.classes)
    if arguments.out is not None:
        record = {"machine": machine.describe(), "outcomes": list(map(asdict, outcomes))}
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
