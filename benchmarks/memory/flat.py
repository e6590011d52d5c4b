"""Seconds and memory that a region of crest takes, by the number of training examples.

    python -m benchmarks.memory.flat --out flat.json

Writes prepared arrays of small synthetic images to a temporary folder, one data set for each size,
and trains on each of them in a process of its own with r fixed, learned examples being excluded.
The processes take turns, a round of regions each, so that all see the same machine. The threshold
is so low that every check ends its region, and the interval is one step: every region selects,
models, trains once and checks. Anonymous memory is sampled while a process is at work: how much
it grows from region to region, and how far it rises above that while a region is at work.

Every operation on an array as long as the data is listed as well, for a round of regions after
the timed ones: those that touch all of it, where reading or writing a few places of it is no pass.
"""

import argparse
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.shared import machine
from benchmarks.shared.synthetic import write_image_meta
from crest.data.augment import Augmentation
from crest.data.prepared import load
from crest.devices.generators import generator_for
from crest.devices.precision import resolve_device, resolve_precision
from crest.methods import METHODS
from crest.methods.crest import CrestParameters
from crest.models import build
from crest.parameters.sections import TrainParameters
from crest.parameters.shared import LearnedParameters
from crest.samplers.base import Context
from crest.training.loop import train

SIDE = 8
CLASSES = 10
BATCH = 128
TEST = 100  # examples
BLOCK = 100_000  # examples written at once
WINDOW = 20  # regions, of a step each: a round holds the end of one window (T2)
WARM_UP = 2  # rounds
POLL = 0.002  # seconds between samples of memory
PARTS = ("select", "model", "check", "train")

# What reads or writes as many places as it is given indices, and what only makes a view.
FEW_PLACES = {
    "aten.index.Tensor",
    "aten.index_select.default",
    "aten.index_add_.default",
    "aten.index_fill_.int_Scalar",
    "aten.index_put_.default",
    "aten.scatter_reduce_.two",
    "aten.select.int",
    "aten.detach.default",
    "aten.alias.default",
}


@dataclass(frozen=True)
class Turn:
    """One process's turn in a round: seconds a region, anonymous memory after it and at most."""

    seconds: float
    memory: int
    peak: int


@dataclass
class Outcome:
    """All that was measured at one size."""

    examples: int
    turns: list[Turn] = field(default_factory=list)
    regions: list[dict[str, float]] = field(default_factory=list)
    passes: dict[str, int] = field(default_factory=dict)
    excluded: int = 0


def write_data(folder: Path, examples: int) -> None:
    """Write prepared arrays whose classes are told apart by their brightness, if with noise."""
    folder.mkdir()
    shape = (SIDE, SIDE, 3)
    random = np.random.default_rng(0)
    for split, count in (("train", examples), ("test", TEST)):
        labels = np.arange(count, dtype=np.int64) % CLASSES
        np.save(folder / f"{split}_labels.npy", labels)
        images = np.lib.format.open_memmap(
            folder / f"{split}_images.npy", "w+", np.uint8, (count, *shape)
        )
        for start in range(0, count, BLOCK):
            block = images[start : start + BLOCK]
            block[:] = random.integers(0, 30, block.shape, dtype=np.uint8)
            block += (22 * labels[start : start + BLOCK]).astype(np.uint8)[:, None, None, None]
        images.flush()
    write_image_meta(folder, examples, TEST, CLASSES, SIDE)


def anonymous_memory(process: int) -> int:
    """Return the anonymous memory of a process, in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not say how much anonymous memory a process has")


class Passes(TorchDispatchMode):
    """Counts operations that go through all of an array as long as the data."""

    def __init__(self, examples: int) -> None:
        super().__init__()
        self.examples = examples
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        result = function(*arguments, **(options or {}))
        tensors = [value for value in (*arguments, result) if isinstance(value, Tensor)]
        if any(len(tensor) >= self.examples for tensor in tensors if tensor.dim()):
            name = str(function)
            if name not in FEW_PLACES:
                self.found[name] += 1
        return result


class Turns:
    """Waits for its turn before each round of regions, and reports how long it took."""

    def __init__(self, connection: Connection, rounds: int, passes: Passes) -> None:
        self._connection = connection
        self._rounds = rounds
        self._passes = passes
        self._started = self._wait()

    def __call__(self, taken: int) -> None:
        """Take note that so many steps are taken; a region is a step."""
        if taken % WINDOW:
            return
        seconds = time.perf_counter() - self._started
        done = taken // WINDOW
        if done <= self._rounds:
            self._connection.send(seconds)
            self._started = self._wait()
        if done == self._rounds:
            self._passes.__enter__()
        if done == self._rounds + 1:
            self._passes.__exit__(None, None, None)

    def _wait(self) -> float:
        self._connection.recv()
        return time.perf_counter()


def work(folder: Path, rounds: int, subset_size: int, threads: int, connection: Connection) -> None:
    """Train on one data set, a round whenever asked to: the process of one size."""
    torch.set_num_threads(threads)
    device = resolve_device("cpu")
    settings = TrainParameters(batch_size=BATCH, lr=0.01, augment_crop=1, augment_flip=True)
    parameters = CrestParameters(
        subset_size=subset_size,
        threshold=1e-12,
        interval_factor=1e-6,
        learned=LearnedParameters(window=WINDOW),
    )
    steps = (rounds + 1) * WINDOW
    data = load(folder, device, Augmentation(1, True)).train
    model = build("convnet", classes=CLASSES, image_shape=(SIDE, SIDE, 3), stem="cifar", seed=0)
    context = Context(
        model=model,
        train=data,
        steps=steps,
        batch_size=BATCH,
        precision=resolve_precision("float32", device),
        generator=generator_for(0, "method"),
        parameters=parameters,
    )
    method = METHODS["crest"].build(context)
    passes = Passes(len(data))
    turns = Turns(connection, rounds, passes)
    run = train(model, method, data, None, steps, settings, context.precision, turns)
    regions, scored = run.record.regions, run.record.scored
    assert regions is not None
    assert scored is not None
    assert len(regions) == steps, "every region is one step"
    excluded = int((scored["excluded_at"] >= 0).sum())
    connection.send((regions.head(rounds * WINDOW).to_dicts(), dict(passes.found), excluded))


class Worker:
    """The process of one size, as seen from outside."""

    def __init__(self, folder: Path, examples: int, arguments: argparse.Namespace) -> None:
        spawning = multiprocessing.get_context("spawn")
        self.outcome = Outcome(examples)
        self._connection, other = spawning.Pipe()
        options = (folder, arguments.rounds, arguments.subset_size, torch.get_num_threads(), other)
        self._process = spawning.Process(target=work, args=options, daemon=True)
        self._process.start()
        other.close()

    def turn(self) -> Turn:
        """Let it run a round, and watch its memory."""
        identity = self._process.pid
        assert identity is not None
        self._connection.send("go")
        peak = 0
        while not self._connection.poll(POLL):
            peak = max(peak, anonymous_memory(identity))
        seconds = self._connection.recv()
        memory = anonymous_memory(identity)
        return Turn(seconds / WINDOW, memory, max(peak, memory))

    def finish(self) -> None:
        """Let it go through its last round, and take what it found."""
        self._connection.send("go")
        outcome = self.outcome
        outcome.regions, outcome.passes, outcome.excluded = self._connection.recv()
        self._process.join()


def measure(arguments: argparse.Namespace) -> list[Outcome]:
    """Run the rounds, at each of them the sizes in another order."""
    with tempfile.TemporaryDirectory() as name:
        workers = []
        for examples in arguments.examples:
            folder = Path(name) / str(examples)
            write_data(folder, examples)
            workers.append(Worker(folder, examples, arguments))
        for number in range(arguments.rounds):
            first = number % len(workers)
            for worker in workers[first:] + workers[:first]:
                worker.outcome.turns.append(worker.turn())
        for worker in workers:
            worker.finish()
    return [worker.outcome for worker in workers]


def summarise(outcome: Outcome, smallest: Outcome) -> dict[str, float]:
    """Figures of one size, all but the first rounds."""
    counted = outcome.turns[WARM_UP:]
    against = smallest.turns[WARM_UP:]
    memory = [turn.memory for turn in counted]
    regions = outcome.regions[WARM_UP * WINDOW :]
    return {
        "examples": outcome.examples,
        "seconds": statistics.median(turn.seconds for turn in counted),
        "seconds_ratio": statistics.median(
            turn.seconds / other.seconds for turn, other in zip(counted, against, strict=True)
        ),
        **{
            f"seconds_{part}": statistics.median(region[f"seconds_{part}"] for region in regions)
            for part in PARTS
        },
        "memory": statistics.median(memory),
        "working_memory": statistics.median(turn.peak - turn.memory for turn in counted),
        "growth": slope(memory) / WINDOW,
        "excluded": outcome.excluded,
    }


def slope(values: list[int]) -> float:
    """Median rise from one value to the next, over all pairs (Theil and Sen)."""
    pairs = itertools.combinations(enumerate(values), 2)
    return statistics.median((b - a) / (j - i) for (i, a), (j, b) in pairs)


def show(rows: list[dict[str, float]], largest: Outcome) -> None:
    print(
        f"{'examples':>9} {'a region':>10} {'ratio':>6} "
        + " ".join(f"{part:>9}" for part in PARTS)
        + f" {'at work':>9} {'growth':>11} {'resident':>9} {'excluded':>9}"
    )
    for row in rows:
        parts = " ".join(f"{1000 * row[f'seconds_{part}']:6.1f} ms" for part in PARTS)
        print(
            f"{row['examples']:9} {1000 * row['seconds']:7.1f} ms {row['seconds_ratio']:6.2f} "
            f"{parts} {row['working_memory'] / 2**20:5.1f} MiB {row['growth'] / 1024:7.1f} KiB "
            f"{row['memory'] / 2**20:5.0f} MiB {row['excluded']:9}"
        )
    for row in rows[1:]:
        added = (row["memory"] - rows[0]["memory"]) / (row["examples"] - rows[0]["examples"])
        print(f"fixed: {added:.1f} bytes an example, from {row['examples']} and the smallest")
    print(
        f"operations in {WINDOW} regions that go through an array of {largest.examples}: "
        + (", ".join(f"{name} {count}" for name, count in largest.passes.items()) or "none")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--examples", type=int, nargs="+", default=[50_000, 500_000, 5_000_000], help="rising"
    )
    parser.add_argument("--subset-size", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=11, help=f"the first {WARM_UP} do not count")
    parser.add_argument("--threads", type=int, help="of torch; default: what torch takes")
    parser.add_argument("--out", type=Path, help="where to write everything as JSON")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    outcomes = measure(arguments)
    rows = [summarise(outcome, outcomes[0]) for outcome in outcomes]
    show(rows, outcomes[-1])
    if arguments.out is not None:
        record = {
            "machine": machine.describe(),
            "summary": rows,
            "operations_on_all": outcomes[-1].passes,
            "turns": {outcome.examples: list(map(asdict, outcome.turns)) for outcome in outcomes},
        }
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
