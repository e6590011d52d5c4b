"""How stale remembered losses are, and what that costs a rule that follows them.

    python -m benchmarks.quality.staleness --project FOLDER --preset digits --passes 20 --out FILE

FOLDER holds prepared data. A network trains on random mini-batches for --passes passes, under the
preset's schedule. At the end of each pass the loss of up to --sample training examples is computed
at the weights of that moment, as evaluation sees them. Against these losses it compares, of the
same examples,

by round
    the losses of 1, 2, 5 ... passes ago, computed the same way: what a round of that length goes by
    at its end;
remembered
    those that training's own steps computed last, some mini-batches to a pass ago, of an augmented
    view and in train mode: what our samplers go by.

Each by its rank correlation, and by what a rule gains that takes the half with the highest losses:
the share of all loss that this half carries, on a scale from 0 (a random half) to 1 (the half by
the losses of the moment).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality.label_runs import Part
from benchmarks.shared.machine import describe
from crest.config import Parameters, parse
from crest.data.prepared import Prepared, Split
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.models import spec_for
from crest.pipeline.inputs import configure_torch, fresh_model, prepared_data, run_precision
from crest.pipeline.paths import Paths
from crest.presets import merged, preset
from crest.samplers.passes import Passes
from crest.training import optimizers
from crest.training.schedules import learning_rate

LENGTHS = (1, 2, 5, 10, 20)  # of a round, in passes


def ranks(values: Tensor) -> Tensor:
    """Return the mean rank of each value among all; float64, k."""
    order = values.argsort()
    places = torch.empty(len(values), dtype=torch.float64)
    places[order] = torch.arange(len(values), dtype=torch.float64)
    _, group, counts = values.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add(0, group, places)
    return (sums / counts)[group]


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Return Spearman's coefficient."""
    return float(torch.stack([ranks(one), ranks(other)]).corrcoef()[0, 1])


def gained(expected: Tensor, losses: Tensor) -> float:
    """Return what the upper half by ``expected`` carries of the loss; 0 by chance, 1 by itself."""
    half = len(losses) // 2
    total, fair = losses.sum(), half / len(losses)
    by, best = (
        losses[values.argsort(descending=True)[:half]].sum() / total
        for values in (expected, losses)
    )
    return float((by - fair) / (best - fair))


def compared(expected: Tensor, losses: Tensor) -> dict[str, float]:
    """Return how well ``expected`` ranks ``losses``; both float64, k."""
    return {
        "rank_correlation": rank_correlation(expected, losses),
        "gained": gained(expected, losses),
    }


class Training:
    """Trains on random mini-batches and remembers the last loss of each example."""

    def __init__(
        self, parameters: Parameters, data: Prepared, precision: Precision, passes: int
    ) -> None:
        self.model = fresh_model(
            spec_for(parameters.train, data.meta), parameters.train.seed, precision.device
        )
        self._train: Split = data.train
        self._settings = parameters.train
        self._precision = precision
        self._optimizer = optimizers.build(self.model, parameters.train)
        self._generator = generator_for(parameters.train.seed, "method")
        self._order = Passes(len(self._train), self._generator)
        self._in_pass = len(self._train) // parameters.train.batch_size
        self._steps = passes * self._in_pass
        self._step = 0
        self.remembered = torch.full((len(self._train),), torch.nan, dtype=torch.float64)

    def run_pass(self) -> None:
        """Take the steps of a pass."""
        self.model.train()
        for _ in range(self._in_pass):
            self._take_step()

    def _take_step(self) -> None:
        indices = self._order.take(self._settings.batch_size)
        draws = self._train.draw_views(len(indices), self._generator)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._step, self._steps, self._settings)
        with self._precision.autocast():
            logits = self.model(self._train.views(indices, draws))
        losses = F.cross_entropy(logits.float(), self._train.labels[indices], reduction="none")
        self._optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        if self._settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._settings.clip_norm)
        self._optimizer.step()
        self.remembered[indices] = losses.detach().double()
        self._step += 1


def row_of(done: int, history: list[Tensor], remembered: Tensor) -> dict[str, Any]:
    """Return what a pass's end shows; ``history`` are the losses at the ends of all passes."""
    losses = history[-1]
    known = remembered.isfinite()
    return {
        "pass": done,
        "mean_loss": float(losses.mean()),
        "remembered": compared(remembered[known], losses[known]),
        "rounds": {
            str(length): compared(history[-1 - length], losses)
            for length in LENGTHS
            if length < len(history)
        },
    }


def main() -> None:
    """Train, print a line a pass, and append the run to a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--model", help="instead of the preset's")
    parser.add_argument("--examples", type=int, help="so many, drawn at random; all if left out")
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--sample", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sections = {k: values for k, values in preset(options.preset).items() if k != "description"}
    train: dict[str, Any] = {"seed": options.seed, "threads": 1}
    if options.model:
        train["model"] = options.model
    parameters = parse(merged(sections, {"train": train}), "staleness")
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = prepared_data(parameters, Paths(options.project), precision.device)
    generator = torch.Generator().manual_seed(options.seed)
    if options.examples:
        rows = torch.randperm(len(data.train), generator=generator)[: options.examples].sort()[0]
        part = Part(data.train, rows, data.train.labels[rows])
        data = Prepared(data.meta, part, data.validation, data.test)
    sample = torch.randperm(len(data.train), generator=generator)[: options.sample]
    training = Training(parameters, data, precision, options.passes)
    evaluator = Evaluator(training.model, data.train, precision)
    history = [evaluator.score(sample, features=False).losses.double().cpu()]
    found = []
    for done in range(1, options.passes + 1):
        training.run_pass()
        history.append(evaluator.score(sample, features=False).losses.double().cpu())
        found.append(row_of(done, history, training.remembered[sample]))
        print(json.dumps(found[-1]), flush=True)
    accuracy = evaluate(Evaluator(training.model, data.test, precision)).accuracy
    about = {"preset": options.preset, "model": parameters.train.model, "seed": options.seed}
    result = {**about, "examples": len(data.train), "accuracy": accuracy, "rows": found}
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result | describe()) + "\n")
    print(f"accuracy {accuracy:.2%}")


if __name__ == "__main__":
    main()
