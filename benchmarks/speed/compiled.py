"""What train.compile costs before the first step and saves in each: eager and compiled, in turns.

    python -m benchmarks.speed.compiled --seconds 330 --out compiled.json

Forward and backward pass and the optimiser's step on a made-up mini-batch, by the code of training,
with as many threads as a case has. Compiling begins with an empty cache; what it does once a
machine, whatever the model, is timed first and left out of the cases. Cases come in order of worth,
and none is begun after --seconds. Prints, for each, the seconds of the first compiled step, the
median milliseconds of both, the ratio with its quartiles over the turns, and after how many steps
it has paid back. --clock processor counts processor seconds instead, where other work is going on.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.shared.machine import describe
from crest.devices.precision import Precision
from crest.models import build
from crest.parameters.sections import TrainParameters
from crest.training import optimizers
from crest.training.compiling import CompiledLosses
from crest.training.losses import ComputeLosses, Losses

CPU = torch.device("cpu")
CLOCKS: dict[str, Callable[[], float]] = {
    "wall": time.perf_counter,
    "processor": time.process_time,
}
CLASSES = 10
MLP = 256  # units of its two hidden layers


@dataclass(frozen=True)
class Case:
    """A model on mini-batches of ``examples`` images; ``steps`` are taken in a turn."""

    model: str
    side: int
    channels: int
    examples: int
    steps: int
    precision: str
    threads: int

    def __str__(self) -> str:
        size = f"{self.examples} of {self.side}×{self.side}"
        return f"{self.model}, {size}, {self.precision}, {self.threads} thread(s)"


SHAPES = (
    ("resnet20", 32, 3, 128, 1),
    ("convnet", 8, 1, 32, 20),
    ("mlp", 8, 1, 32, 40),
    ("resnet18", 32, 3, 16, 1),
)
CASES = tuple(
    Case(*shape, precision, threads)
    for precision, threads in (("bf16", 1), ("float32", 1), ("bf16", 2), ("float32", 2))
    for shape in SHAPES
)


def model_of(case: Case) -> nn.Module:
    """Return the case's model in train mode, channels last, the same each time."""
    if case.model == "mlp":
        torch.manual_seed(0)
        model: nn.Module = nn.Sequential(
            nn.Flatten(),
            nn.Linear(case.side**2 * case.channels, MLP),
            nn.ReLU(),
            nn.Linear(MLP, MLP),
            nn.ReLU(),
            nn.Linear(MLP, CLASSES),
        )
    else:
        shape = (case.side, case.side, case.channels)
        model = build(case.model, classes=CLASSES, image_shape=shape, stem="cifar", seed=0)
    return model.to(memory_format=torch.channels_last).train()


class Steps:
    """A model that takes steps on one mini-batch."""

    def __init__(self, case: Case, compiled: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (case.examples, case.channels, case.side, case.side)
        images = torch.randn(shape, generator=generator)
        self._images = images.contiguous(memory_format=torch.channels_last)
        self._labels = torch.randint(CLASSES, (case.examples,), generator=generator)
        self._weights = torch.ones(case.examples)
        model = model_of(case)
        self._optimizer = optimizers.build(model, TrainParameters())
        self._losses: ComputeLosses = Losses(model, Precision(case.precision, CPU))
        if compiled:
            self._losses = CompiledLosses(self._losses, frozenset({case.examples}))

    def take(self) -> Tensor:
        """Take a step; the losses it had."""
        self._optimizer.zero_grad(set_to_none=True)
        descended, losses, _ = self._losses(self._images, self._labels, self._weights)
        descended.mean().backward()
        self._optimizer.step()
        return losses.detach()


def timed(case: Case, turns: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Compile a case, and time it in turns with the one that is not compiled."""
    torch.set_num_threads(case.threads)
    both = {"eager": Steps(case, compiled=False), "compiled": Steps(case, compiled=True)}
    both["eager"].take()
    started = time.perf_counter()
    both["compiled"].take()
    compiling = time.perf_counter() - started
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for turn in range(-2, turns):  # two to warm up
        for name, steps in both.items():
            started = clock()
            for _ in range(case.steps):
                steps.take()
            if turn >= 0:
                seconds[name].append((clock() - started) / case.steps)
    ratios = [mine / its for mine, its in zip(seconds["compiled"], seconds["eager"], strict=True)]
    eager, fast = (statistics.median(seconds[name]) for name in both)
    return {
        **vars(case),
        "compile_seconds": round(compiling, 1),
        "eager_ms": round(1e3 * eager, 3),
        "compiled_ms": round(1e3 * fast, 3),
        "ratio": [round(quartile, 3) for quartile in statistics.quantiles(ratios, n=4)],
        "pays_back_after": round(compiling / (eager - fast)) if fast < eager else None,
    }


def line(case: Case, row: dict[str, Any]) -> str:
    """Return what is printed of a case."""
    low, middle, high = row["ratio"]
    after = row["pays_back_after"]
    paid = "never pays back" if after is None else f"pays back after {after:,} steps"
    return (
        f"{case!s:46} compiling {row['compile_seconds']:6} s   {row['eager_ms']:8} -> "
        f"{row['compiled_ms']:8} ms   {middle} ({low}–{high})   {paid}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=330.0, help="begin no case after these")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="of the steps")
    parser.add_argument("--models", nargs="+", help="these alone")
    parser.add_argument("--out", type=Path, help="where to write the table as JSON")
    arguments = parser.parse_args()
    began = time.perf_counter()
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        torch.set_num_threads(1)
        torch.compile(torch.square)(torch.ones(100))
        once = time.perf_counter() - began
        print(f"once a machine: {once:.0f} s", flush=True)
        for case in CASES:
            wanted = arguments.models is None or case.model in arguments.models
            if not wanted or time.perf_counter() - began > arguments.seconds:
                continue
            rows.append(timed(case, arguments.turns, CLOCKS[arguments.clock]))
            print(line(case, rows[-1]), flush=True)
    if arguments.out is not None:
        report = {
            "machine": describe(),
            "clock": arguments.clock,
            "once_seconds": round(once, 1),
            "cases": rows,
        }
        arguments.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
