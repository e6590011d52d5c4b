"""What choosing costs: settings of crest, side by side with Random and with their own bare parts.

    python -m benchmarks.speed.overhead --project FOLDER --steps 2000 --out overhead.json \
        --run random --run crest --run cheap=crest:crest.proxy=last_input,crest.subset_size=300

FOLDER holds params.yaml and data/prepared. Every --run, METHOD or NAME=METHOD:KEY=VALUE,..., is
trained in this one process, --block steps in turn. After each round, off everybody's clock, the
bare parts are timed, each a few lines of plain PyTorch: a training step, a forward pass in
large batches, and a Hessian-vector product of one mini-batch with its gradient. Prints, for each
run, its wall-clock over Random's and over the bare parts that it took, where its time went, and
its accuracy. --keep FOLDER saves the tables and weights of the runs.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import fsum
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.shared.machine import describe
from benchmarks.shared.side_by_side import Advance, Runner, take_turns
from crest import artifacts, config
from crest.config import Parameters
from crest.data.prepared import Prepared
from crest.devices.precision import Precision, resolve_device, resolve_precision
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.inference.folding import FoldingEvaluator
from crest.methods import METHODS
from crest.methods.crest import CrestParameters
from crest.models import spec_for
from crest.pipeline.inputs import fresh_model, prepared_data
from crest.pipeline.paths import Paths
from crest.pipeline.process import keep_freed_memory
from crest.pipeline.runs import context_of
from crest.regions.curvature import covered_parameters, requiring_only
from crest.training import optimizers
from crest.training.loop import Run, train

SCORED = 2500  # examples of a bare forward pass
SCORED_BATCH = 250  # and of its forward passes
RAGGED_SCORED = 512  # the same of texts, sorted by length
RAGGED_SCORED_BATCH = 32
PARTS = ("select", "model", "check", "train")

Trained = tuple[nn.Module, Run]


@dataclass(frozen=True)
class Setting:
    """A run that was asked for."""

    name: str
    method: str
    overrides: tuple[str, ...]


@dataclass
class BareParts:
    """Seconds of each bare part, one for each round."""

    step: list[float] = field(default_factory=list)
    example: list[float] = field(default_factory=list)
    product: list[float] = field(default_factory=list)


def parse_setting(text: str) -> Setting:
    """Read METHOD, METHOD:OVERRIDES or NAME=METHOD:OVERRIDES."""
    head, _, overrides = text.partition(":")
    name, equals, method = head.partition("=")
    return Setting(
        name, method if equals else name, tuple(overrides.split(",")) if overrides else ()
    )


class Bare:
    """The parts of crest in plain PyTorch, on a model of their own."""

    def __init__(self, parameters: Parameters, data: Prepared, precision: Precision) -> None:
        self._data = data.train
        self._size = parameters.train.batch_size
        self._precision = precision
        spec = spec_for(parameters.train, data.meta)
        self._model = fresh_model(spec, parameters.train.seed, precision.device)
        self._covered = covered_parameters(
            self._model, parameters.of(CrestParameters).quadratic.parameters
        )
        self._evaluator = FoldingEvaluator.of(Evaluator(self._model, data.train, precision))
        self._optimizer = optimizers.build(self._model, parameters.train)
        self._generator = torch.Generator().manual_seed(0)
        self._scored = SCORED if data.train.lengths is None else RAGGED_SCORED

    def step(self) -> None:
        self._model.train()
        indices = self._draw(self._size)
        with self._precision.autocast():
            draws = self._data.draw_views(len(indices), self._generator)
            logits = self._model(self._data.views(indices, draws))
        self._optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), self._labels(indices)).backward()
        self._optimizer.step()

    def forward(self) -> None:
        self._model.eval()
        indices = self._draw(self._scored)
        size = SCORED_BATCH if self._precision.device.type == "cpu" else SCORED
        if (lengths := self._data.lengths) is not None:
            indices, size = indices[lengths[indices].argsort()], RAGGED_SCORED_BATCH
        with (
            torch.inference_mode(),
            self._evaluator.folded(),
            self._precision.autocast(),
        ):
            for batch in indices.split(size):
                self._model(self._data.inputs(batch)).float()

    def product(self) -> None:
        indices = self._draw(self._size)
        with requiring_only(self._model, self._covered), sdpa_kernel(SDPBackend.MATH):
            with self._evaluator.folded(), self._precision.autocast():
                logits = self._model(self._data.inputs(indices))
            loss = F.cross_entropy(logits.float(), self._labels(indices))
            gradient = torch.autograd.grad(loss, self._covered, create_graph=True)
            signs = [torch.randn_like(weight).sign() for weight in self._covered]
            torch.autograd.grad(gradient, self._covered, signs)

    def time(self, parts: BareParts) -> None:
        """Time each part once more; a forward pass is counted by the example."""
        parts.step.append(self._seconds(self.step, 3))
        parts.example.append(self._seconds(self.forward, 1) / self._scored)
        parts.product.append(self._seconds(self.product, 1))

    def _seconds(self, part: Callable[[], None], times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            part()
        if self._precision.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / times

    def _draw(self, count: int) -> torch.Tensor:
        return torch.randint(len(self._data), (count,), generator=self._generator)

    def _labels(self, indices: torch.Tensor) -> torch.Tensor:
        return self._data.labels[indices].to(self._precision.device)


def work_of(
    parameters: Parameters, method: str, data: Prepared, precision: Precision, steps: int
) -> Callable[[Advance], Trained]:
    """Return a function that trains from the start, as stages.train does but for the files."""

    def work(advance: Advance) -> Trained:
        settings = parameters.train
        model = fresh_model(spec_for(parameters.train, data.meta), settings.seed, precision.device)
        chooser = METHODS[method].build(
            context_of(parameters, method, data, model, steps, precision)
        )
        return model, train(model, chooser, data.train, None, steps, settings, precision, advance)

    return work


def bare_seconds(run: Run, parts: BareParts) -> dict[str, float]:
    """Seconds of everything that a run took part in, at bare speed."""
    counts = run.record.counts or {}
    return {
        "steps": len(run.steps) * statistics.mean(parts.step),
        "scoring": counts.get("examples_scored", 0) * statistics.mean(parts.example),
        "products": counts.get("hessian_vector_products", 0) * statistics.mean(parts.product),
    }


def row(
    runner: Runner[Trained], parts: BareParts, data: Prepared, precision: Precision
) -> dict[str, object]:
    """Everything that is reported of one run."""
    model, run = runner.result
    bare = bare_seconds(run, parts)
    wall = sum(runner.turns)
    regions = run.record.regions
    seconds = {} if regions is None else {part: fsum(regions[f"seconds_{part}"]) for part in PARTS}
    return {
        "name": runner.name,
        "accuracy": evaluate(Evaluator(model, data.test, precision)).accuracy,
        "steps": len(run.steps),
        "seconds": wall,
        "turns": runner.turns,
        "regions": 0 if regions is None else len(regions),
        "counts": run.record.counts,
        "bare": bare,
        "over_bare": wall / sum(bare.values()),
        "breakdown": seconds,
        "unaccounted": 1.0 - sum(seconds.values()) / wall if seconds else None,
    }


def over_random(row: dict, random: dict | None) -> tuple[float, float, float] | None:
    """Wall-clock over Random's: of the whole run, and the quartiles of its turns."""
    if random is None:
        return None
    pairs = zip(row["turns"], random["turns"], strict=False)
    low, _, high = statistics.quantiles((mine / its for mine, its in pairs), n=4)
    return row["seconds"] / random["seconds"], low, high


def show(rows: list[dict]) -> None:
    random = next((row for row in rows if row["counts"] is None), None)
    print(
        f"{'run':12} {'accuracy':>8} {'steps':>6} {'seconds':>8} {'÷ random (quartiles)':>24} "
        f"{'÷ bare':>7}  select, model, check, train, unaccounted"
    )
    for row in rows:
        ratio = over_random(row, random)
        row["over_random"] = ratio
        text = f"{ratio[0]:.2f} ({ratio[1]:.2f} - {ratio[2]:.2f})" if ratio else ""
        parts = ", ".join(f"{seconds:.1f}" for seconds in row["breakdown"].values())
        if parts:
            parts += f", {row['unaccounted']:.1%}"
        print(
            f"{row['name']:12} {row['accuracy']:8.2%} {row['steps']:6} {row['seconds']:8.1f} "
            f"{text:>24} {row['over_bare']:7.3f}  {parts}"
        )


def keep(runner: Runner[Trained], folder: Path) -> None:
    """Save the tables and the weights of a run."""
    model, run = runner.result
    folder.mkdir(parents=True, exist_ok=True)
    artifacts.write_table(folder / artifacts.STEPS, run.steps)
    for name in ("coresets", "regions"):
        if (table := getattr(run.record, name)) is not None:
            artifacts.write_table(folder / f"{name}.parquet", table)
    torch.save(model.state_dict(), folder / "model.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--block", type=int, default=20, help="steps of a turn")
    parser.add_argument("--run", type=parse_setting, action="append", required=True)
    parser.add_argument("-S", dest="overrides", action="append", default=[], help="for every run")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path, help="where to write the table as JSON")
    arguments = parser.parse_args()
    keep_freed_memory()
    file = arguments.project / "params.yaml"
    common = config.load(file, arguments.overrides)
    if common.train.threads is not None:
        torch.set_num_threads(common.train.threads)
    precision = resolve_precision(common.train.precision, resolve_device(common.train.device))
    data = prepared_data(common, Paths(arguments.project), precision.device)
    works: dict[str, Callable[[Advance], Trained]] = {}
    for setting in arguments.run:
        parameters = config.load(file, [*arguments.overrides, *setting.overrides])
        works[setting.name] = work_of(parameters, setting.method, data, precision, arguments.steps)
    bare, parts = Bare(common, data, precision), BareParts()
    bare.time(BareParts())  # warm up
    runners = take_turns(works, arguments.block, lambda: bare.time(parts))
    rows = [row(runner, parts, data, precision) for runner in runners.values()]
    show(rows)
    for name, prices in vars(parts).items():
        low, middle, high = statistics.quantiles(prices, n=4)
        print(f"bare {name}: {middle:.6f} s ({low:.6f} - {high:.6f})")
    if arguments.keep is not None:
        for runner in runners.values():
            keep(runner, arguments.keep / runner.name)
    if arguments.out is not None:
        report = {"machine": describe(), "runs": rows, "bare": vars(parts)}
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
