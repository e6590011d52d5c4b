"""What can be known of a candidate's gradient before it is trained on, and for what price.

    python -m benchmarks.quality.expectations --project FOLDER --examples 10000 --out FILE

FOLDER holds params.yaml and prepared images. A network trains on random mini-batches. Before each
step the norm of the logits' gradient, ‖p − y‖, of every example is expected: by that of its last
visit and how long ago that was (memory), by that of a proxy for the very view (each of --proxies,
which trains on every fourth batch), and by both. What it turns out to be is known after the step.

For each tenth of training it prints the rank correlation, the share of the variance explained, and
how many candidates could be left out that together carry a tenth of the gradient's norm, were the
expectation all that is known; and were the norms known (truth). Proxies' processor seconds are
shares of those of the steps.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality.label_runs import Part
from benchmarks.shared.machine import describe
from crest.config import Parameters, parse
from crest.data.prepared import Split
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.models import spec_for
from crest.parameters.shared import ProxyModelParameters
from crest.pipeline.inputs import configure_torch, fresh_model, prepared_data, run_precision
from crest.pipeline.paths import Paths
from crest.pipeline.runs import context_of
from crest.presets import merged, preset
from crest.samplers.batch_selection.expectation import features_of
from crest.samplers.example_tracker import error_norms
from crest.samplers.passes import Passes
from crest.samplers.proxy_model import ProxyModel
from crest.training import optimizers
from crest.training.schedules import learning_rate

PRESET = "cifar10-resnet20-economical"
PARTS = 10  # of training
LOST = 0.1


@dataclass(frozen=True)
class Visit:
    """What was known of a mini-batch before its step, by name, and its norms after it."""

    known: dict[str, Tensor]
    norms: Tensor


class Follower:
    """Trains on random mini-batches and keeps what was known of each before."""

    def __init__(
        self,
        parameters: Parameters,
        data: Any,
        precision: Precision,
        steps: int,
        names: Sequence[str],
    ) -> None:
        self.model = fresh_model(
            spec_for(parameters.train, data.meta), parameters.train.seed, precision.device
        )
        self._train: Split = data.train
        self._settings = parameters.train
        self._steps = steps
        self._precision = precision
        self._optimizer = optimizers.build(self.model, parameters.train)
        self._generator = generator_for(parameters.train.seed, "method")
        self._passes = Passes(len(self._train), self._generator)
        context = context_of(parameters, "random", data, self.model, steps, precision)
        self._proxies = {
            name: ProxyModel(context, ProxyModelParameters(model=name)) for name in names
        }
        self._norms = torch.full((len(self._train),), torch.nan)
        self._visited = torch.zeros(len(self._train))
        self.seconds = dict.fromkeys(["step", *names], 0.0)

    def visit(self, step: int) -> Visit:
        """Take a step."""
        settings, train = self._settings, self._train
        indices = self._passes.take(settings.batch_size)
        draws = train.draw_views(len(indices), self._generator)
        last = self._norms[indices]
        passes = (step - self._visited[indices]) * settings.batch_size / len(train)
        known = {"memory": features_of(last, passes, None)}
        for name, proxy in self._proxies.items():
            started = time.process_time()
            scored = proxy.score(indices, draws, step / self._steps)
            norms = error_norms(scored.logits, scored.labels)
            self.seconds[name] += time.process_time() - started
            known[name] = torch.stack([torch.ones_like(norms), norms, norms**2], 1)
            known[f"memory and {name}"] = features_of(last, passes, norms)
        started = time.process_time()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(step, self._steps, settings)
        labels = train.labels[indices]
        with self._precision.autocast():
            logits = self.model(train.views(indices, draws))
        self._optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()
        self._optimizer.step()
        self.seconds["step"] += time.process_time() - started
        found = error_norms(logits.detach().float(), labels)
        self._norms[indices] = found
        self._visited[indices] = step
        return Visit(known, found)


def figures_by(features: Tensor, norms: Tensor) -> dict[str, float]:
    """Return what features tell of norms: least squares over both halves, each by the other's."""
    halves = torch.arange(len(norms)) % 2 == 0
    expected = torch.empty(len(norms), dtype=torch.float64)
    for half in (halves, ~halves):
        rows, values = features[half].double(), norms[half].double()
        solution = torch.linalg.lstsq(rows, values[:, None], driver="gelsd").solution
        expected[~half] = features[~half].double() @ solution[:, 0]
    return figures_of(expected, norms.double())


def figures_of(expected: Tensor, norms: Tensor) -> dict[str, float]:
    """Return rank correlation, explained variance, and the share that could be left out."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (expected, norms)])
    mass = norms[expected.argsort()].cumsum(0) / norms.sum()
    return {
        "rank_correlation": float(ranks.corrcoef()[0, 1]),
        "explained": float(1 - (norms - expected).var() / norms.var()),
        "left_out": float((mass <= LOST).double().mean()),
    }


def summary(visits: Sequence[Visit]) -> dict[str, dict[str, float]]:
    """Return what was told of some stretch of training, by what."""
    norms = torch.cat([visit.norms for visit in visits])
    found = {"truth": figures_of(norms.double(), norms.double())}
    visited = torch.cat([visit.known["memory"] for visit in visits]).isfinite().all(1)
    for name in visits[0].known:
        features = torch.cat([visit.known[name] for visit in visits])
        found[name] = figures_by(features[visited], norms[visited])
    return found


def settings(model: str, seed: int) -> Parameters:
    """Return how the network is trained: as in the definition proxy-cifar10."""
    sections = {name: values for name, values in preset(PRESET).items() if name != "description"}
    train = {"model": model, "seed": seed, "lr": 0.2, "weight_decay": 5e-4, "threads": 1}
    return parse(merged(sections, {"train": train}), "expectations")


def line(row: dict[str, Any]) -> str:
    """Return a row in words."""
    columns = ("rank_correlation", "explained", "left_out")
    parts = [
        f"{name} " + " / ".join(f"{found[column]:.2f}" for column in columns)
        for name, found in row.items()
        if name != "step"
    ]
    return f"step {row['step']}: " + "; ".join(parts)


def main() -> None:
    """Train, and print what was known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=1562)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--proxies", nargs="*", default=["proxynet", "convnet"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    parameters = settings(options.model, options.seed)
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = prepared_data(parameters, Paths(options.project), precision.device)
    generator = torch.Generator().manual_seed(0)
    rows_taken = torch.randperm(len(data.train), generator=generator)[: options.examples].sort()[0]
    data = replace(data, train=Part(data.train, rows_taken, data.train.labels[rows_taken]))
    follower = Follower(parameters, data, precision, options.steps, options.proxies)
    follower.model.train()
    visits: list[Visit] = []
    rows = []
    for step in range(options.steps):
        visits.append(follower.visit(step))
        if (step + 1) % (options.steps // PARTS) == 0 and step * parameters.train.batch_size > len(
            data.train
        ):
            rows.append({"step": step + 1, **summary(visits)})
            visits = []
            print(line(rows[-1]), flush=True)
    reached = evaluate(Evaluator(follower.model, data.test, precision))
    costs = {name: follower.seconds[name] / follower.seconds["step"] for name in options.proxies}
    about = {"model": options.model, "examples": len(data.train), "steps": options.steps}
    result = {**about, "seed": options.seed, "rows": rows, "cost": costs, **describe()}
    result["accuracy"] = reached.accuracy
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(f"accuracy {reached.accuracy:.2%}; seconds, a step's: {costs}")


if __name__ == "__main__":
    main()
