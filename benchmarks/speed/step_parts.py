"""Where a step's time goes: views, forward, backward, optimiser, choosing, and what is left.

    python -m benchmarks.speed.step_parts --out docs/performance.json --steps 600 150 \
        --warm-up 50 450 --project digits=FOLDER --project "CIFAR-10, ResNet-20"=FOLDER

Each FOLDER holds params.yaml and data/prepared; KEY=VALUE after a colon, with commas, override its
parameters. The methods are trained one after the other, and their parts timed where the loop calls
them. Seconds are the processor's, with one thread, so that other work on the machine counts little;
on a GPU, which a step does not wait for, they are the host's. `python docs/performance.py` draws
the rows.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from math import fsum
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.optim import SGD, AdamW

from benchmarks.shared.machine import describe
from crest import config
from crest.devices.precision import resolve_device, resolve_precision
from crest.inference.evaluator import Evaluator
from crest.inference.folding import FoldingEvaluator
from crest.methods import METHODS
from crest.models import spec_for
from crest.pipeline.inputs import fresh_model, prepared_data
from crest.pipeline.paths import Paths
from crest.pipeline.process import keep_freed_memory
from crest.pipeline.runs import context_of
from crest.samplers.crest.quadratic import QuadraticEstimator
from crest.training.loop import train
from crest.training.losses import Losses
from crest.training.step import Stepper

METHODS_TIMED = ("random", "focused", "crest")
# What is timed, and where it is called. A call within another counts for its own part alone.
CALLS: tuple[tuple[str, type, str], ...] = (
    ("views", Stepper, "_views"),
    ("forward", Losses, "__call__"),
    ("backward", torch.Tensor, "backward"),
    ("optimiser", SGD, "step"),
    ("optimiser", AdamW, "step"),
    ("scoring", Evaluator, "score"),
    ("scoring", FoldingEvaluator, "score"),
    ("curvature", QuadraticEstimator, "estimate"),
    ("curvature", QuadraticEstimator, "include_step"),
)


@dataclass(frozen=True)
class Project:
    """A folder to train in, and what is changed of its parameters."""

    name: str
    folder: Path
    overrides: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Project":
        """Read NAME=FOLDER or NAME=FOLDER:KEY=VALUE,..."""
        name, _, rest = text.partition("=")
        folder, _, overrides = rest.partition(":")
        return cls(name, Path(folder), tuple(overrides.split(",")) if overrides else ())


class Stopwatch:
    """Adds up processor seconds of parts, since it was started."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]  # of calls within those that are open
        self._started = time.process_time()

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            self._inner.append(0.0)
            started = time.process_time()
            result = call(*arguments, **options)
            took = time.process_time() - started
            self.seconds[part] += took - self._inner.pop()
            self._inner[-1] += took
            return result

        return timed

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time the parts wherever they are called."""
        with ExitStack() as stack:
            for part, owner, name in CALLS:
                stack.enter_context(
                    patch.object(owner, name, self.timed(part, getattr(owner, name)))
                )
            yield

    def parts(self) -> dict[str, float]:
        """Return the seconds of each part, and of the rest."""
        whole = time.process_time() - self._started
        return {**self.seconds, "rest": whole - fsum(self.seconds.values())}


def row(project: Project, method: str, warm_up: int, steps: int) -> dict[str, Any]:
    """Train with a method; milliseconds of a step in each part, after some to warm up."""
    parameters = config.load(
        project.folder / "params.yaml", [*project.overrides, "train.threads=1"]
    )
    device = resolve_device(parameters.train.device)
    precision = resolve_precision(parameters.train.precision, device)
    data = prepared_data(parameters, Paths(project.folder), device)
    spec = spec_for(parameters.train, data.meta)
    model = fresh_model(spec, parameters.train.seed, device)
    watch = Stopwatch()
    parts: dict[str, float] = {}
    everything = warm_up + steps

    def advance(taken: int) -> None:
        if taken == warm_up:
            watch.start()
        if taken == everything:
            parts.update(watch.parts())

    context = context_of(parameters, method, data, model, everything, precision)
    with watch.watching():
        chooser = METHODS[method].build(context)
        for name in ("minibatch", "update"):
            setattr(chooser, name, watch.timed("choosing", getattr(chooser, name)))
        train(model, chooser, data.train, None, everything, parameters.train, precision, advance)
    return {
        "project": project.name,
        "method": method,
        "precision": precision.name,
        "batch_size": parameters.train.batch_size,
        "warm_up": warm_up,
        "steps": steps,
        "ms": {part: round(1e3 * seconds / steps, 4) for part, seconds in parts.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Project.parse, action="append", required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[600], help="of each project")
    parser.add_argument(
        "--warm-up", type=int, nargs="+", default=[50], help="steps of each project before those"
    )
    parser.add_argument("--out", type=Path, help="where to write the rows as JSON")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    rows = []
    lengths = zip(cycle(arguments.warm_up), cycle(arguments.steps), strict=False)
    for project, (warm_up, steps) in zip(arguments.project, lengths, strict=False):
        for method in METHODS_TIMED:
            rows.append(row(project, method, warm_up, steps))
            parts = ", ".join(f"{part} {ms:.3f}" for part, ms in rows[-1]["ms"].items())
            whole = sum(rows[-1]["ms"].values())
            print(f"{project.name}, {method}: {whole:.3f} ms a step: {parts}", flush=True)
    if arguments.out is not None:
        report = {"machine": describe(), "rows": rows}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
