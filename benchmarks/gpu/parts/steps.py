"""Milliseconds of a step, ResNet-20 with batches of 128: ours, one written by hand, the bare graph.

A row is the median over blocks of steps, with its quartiles; the device is waited for at the end
of each block alone. Ours are with everything that training does and records.
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch

from benchmarks.experiments import commands, experiment
from benchmarks.gpu.handwritten import Handwritten
from benchmarks.gpu.project import project
from benchmarks.gpu.queue import Job, table
from benchmarks.gpu.training import small
from benchmarks.speed.overhead import work_of
from crest.config import Parameters
from crest.data.prepared import Prepared
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.models import spec_for
from crest.pipeline.inputs import configure_torch, fresh_model, prepared_data, run_precision
from crest.selection.coresets import uniform
from crest.training import optimizers
from crest.training.cuda_graph import WARM_UP, GraphedGradients
from crest.training.step import Stepper

RANDOM = "random"
OURS = (RANDOM, "focused", "adaptive", "by_rule", "crest")
EAGER, COMPILED, BARE = "by hand, eager", "by hand, compiled", "bare replay of the graph"
NAMES = (RANDOM, COMPILED, BARE, *OURS[1:], EAGER, f"{RANDOM}, no graph")


def run(job: Job) -> bool:
    missing = job.missing(NAMES)
    bench = Bench(job) if missing else None
    for name in missing:
        if job.left < 0:
            return False
        assert bench is not None
        milliseconds, first = bench.blocks(name)
        low, middle, high = _quartiles(milliseconds) if milliseconds else (None, None, None)
        job.add(name, ms=middle, low=low, high=high, blocks=len(milliseconds), first_s=first)
    return True


class Bench:
    """What the rows are measured on: the parameters and data of rivals-resnet20."""

    def __init__(self, job: Job) -> None:
        self.parameters = commands.known("rivals-resnet20").plans[0].parameters
        if job.small:
            self.parameters = small(self.parameters)
        self.block, self.warm_up, self.count = (1, 1, 2) if job.small else (64, 192, 12)
        self.compiles = not job.small  # which takes seconds
        configure_torch(self.parameters)
        self.precision: Precision = run_precision(self.parameters)
        self.paths = project(job, self.parameters.prepare)
        self.data: Prepared = prepared_data(self.parameters, self.paths, self.precision.device)

    def blocks(self, name: str) -> tuple[list[float], float | None]:
        """Return the milliseconds a step of each block, and the seconds of the warm-up.

        None where there is no such thing: a processor has no graph.
        """
        if name == BARE:
            if self.precision.device.type != "cuda":
                return [], None
            return self._repeated(self._replay())
        if name in (EAGER, COMPILED):
            return self._repeated(self._handwritten(name).step)
        return self._ours(name)

    def _ours(self, name: str) -> tuple[list[float], float]:
        """Train with a method from the start."""
        method, _, without = name.partition(", ")
        parameters = self.parameters
        if without:
            parameters = experiment.changed(parameters, train={"cuda_graph": False})
        steps = self.warm_up + self.count * self.block
        marks = [self.now()]

        def advance(taken: int) -> None:
            if taken >= self.warm_up and (taken - self.warm_up) % self.block == 0:
                marks.append(self.now())

        work_of(parameters, method, self.data, self.precision, steps)(advance)
        return self._by_block(marks)

    def _repeated(self, step: Callable[[], None]) -> tuple[list[float], float]:
        """Take steps that need nothing from each other."""
        marks = [self.now()]
        for size in (self.warm_up, *[self.block] * self.count):
            for _ in range(size):
                step()
            marks.append(self.now())
        return self._by_block(marks)

    def _by_block(self, marks: list[float]) -> tuple[list[float], float]:
        seconds = [after - before for before, after in pairwise(marks)]
        return [1000 * each / self.block for each in seconds[1:]], seconds[0]

    def _handwritten(self, name: str) -> Handwritten:
        train = self.parameters.train
        model = self._model(self.parameters)
        compiled = name == COMPILED and self.compiles
        return Handwritten(model, self.paths.prepared, train.batch_size, compiled)

    def _replay(self) -> Callable[[], None]:
        """Return what replays the graph of our step, and does nothing else."""
        parameters, generator = self.parameters.train, generator_for(0, "augmentation")
        model = self._model(self.parameters)
        optimizer = optimizers.build(model, parameters)
        stepper = Stepper(model, optimizer, self.data.train, generator, parameters, self.precision)
        minibatch = uniform(torch.arange(parameters.batch_size))
        for _ in range(WARM_UP + 1):
            stepper.take(minibatch)
        gradients = stepper._backpropagate
        assert isinstance(gradients, GraphedGradients)
        assert gradients._captured is not None
        return gradients._captured.graph.replay

    def _model(self, parameters: Parameters) -> torch.nn.Module:
        spec = spec_for(parameters.train, self.data.meta)
        return fresh_model(spec, 0, self.precision.device).train()

    def now(self) -> float:
        """Return the clock's seconds when the device has done what it was given."""
        if self.precision.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def report(job: Job) -> str:
    rows = {row["name"]: row for row in job.rows()}
    base = rows.get(RANDOM, {}).get("ms")
    ordered = [
        {**rows[name], "÷ random": rows[name]["ms"] / base if base and rows[name]["ms"] else None}
        for name in NAMES
        if name in rows
    ]
    return table(ordered, ("name", "ms", "low", "high", "÷ random", "first_s"))
