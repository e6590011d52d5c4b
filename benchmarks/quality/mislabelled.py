"""How well scores of training rank wrong labels, and whether the class named is the true one.

    python -m benchmarks.quality.mislabelled --out mislabelled.json

Plants wrong labels among the bundled digits, drawn evenly over the other classes, trains a convnet
as full training does and ranks the examples by what that one run shows of them, and beside it by
cleanlab's self-confidence where that can be imported: out of sample, by four-fold cross-validation
with as many epochs, so that it takes four trainings more. Prints the area under the ROC curve and
the precision among the first k, k being the number of wrong labels; and how often each way of
naming the class that an example is taken for names the true one, for the wrong labels.

cleanlab is no dependency; `pip install --target FOLDER --no-deps cleanlab tqdm termcolor`
and `PYTHONPATH=FOLDER` put it beside.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.shared import machine
from crest.analysis.difficulty import difficulty_table
from crest.data.prepared import Split, load
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.inference.evaluator import Evaluator
from crest.methods import METHODS
from crest.models import spec_for
from crest.samplers.base import Context
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.training.loop import train
from stages import prepare

CPU = torch.device("cpu")
FLOAT32 = Precision("float32", CPU)
FOLDS = 4


@dataclass(frozen=True)
class Case:
    """A data set with wrong labels: ``examples`` of it, a ``share`` wrong; rare thins out class 0.

    ``rare`` keeps that share of class 0.
    """

    name: str
    examples: int | None
    share: float
    rare: float = 1.0


CASES = (
    Case("432, 9%", 432, 0.09),
    Case("digits, 9%", None, 0.09),
    Case("digits, 20%", None, 0.2),
    Case("digits, 40%", None, 0.4),
    Case("rare class, 9%", None, 0.09, rare=0.1),
    Case("rare class, none wrong", None, 0.0, rare=0.1),
)


class RecordedMethod:
    """A method that keeps what every step knew of its mini-batch."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self.indices: list[Tensor] = []
        self.logits: list[Tensor] = []

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        assert outputs is not None
        self.indices.append(minibatch.indices)
        self.logits.append(outputs.logits)
        self._method.update(minibatch, outputs, seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)


@dataclass
class Part:
    """Some rows of a split, with labels of their own."""

    whole: Split
    rows: Tensor
    labels: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self, indices: Tensor) -> Any:
        return self.whole.inputs(self.rows[indices])

    def augmented(self, indices: Tensor, generator: torch.Generator) -> Any:
        return self.whole.augmented(self.rows[indices], generator)


def planted(split: Split, case: Case, seed: int) -> tuple[Part, Tensor, Tensor]:
    """Return examples with some wrong labels, which are wrong, and the true labels."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.randperm(len(split), generator=generator)
    if case.rare < 1:
        zeros = kept[split.labels[kept] == 0]
        gone = zeros[: len(zeros) - round(case.rare * len(zeros))]
        kept = kept[~torch.isin(kept, gone)]
    kept = kept[: case.examples].sort().values
    true = split.labels[kept]
    wrong = torch.zeros(len(kept), dtype=torch.bool)
    wrong[torch.randperm(len(kept), generator=generator)[: round(case.share * len(kept))]] = True
    by = torch.randint(1, 10, (len(kept),), generator=generator)
    labels = torch.where(wrong, (true + by) % 10, true)
    return Part(split, kept, labels), wrong, true


def trained(data: Part, meta: Any, epochs: int, seed: int) -> tuple[Any, Any, RecordedMethod]:
    """Train on all of the data; returns the model, what the run left behind, and all it showed."""
    settings = parameters(epochs, seed)
    model = spec_for(settings.train, meta).fresh(seed)
    steps = epochs * len(data) // settings.train.batch_size
    context = Context(
        model=model,
        train=data,
        steps=steps,
        batch_size=settings.train.batch_size,
        precision=FLOAT32,
        generator=generator_for(seed, "method"),
        parameters=settings.of_method("random"),
    )
    method = RecordedMethod(METHODS["random"].build(context))
    return model, train(model, method, data, None, steps, settings.train, FLOAT32), method


def parameters(epochs: int, seed: int) -> Any:
    from crest.config import parse

    values = {"epochs": epochs, "seed": seed, "precision": "float32", "device": "cpu", "threads": 1}
    return parse({"train": values}, "benchmark")


def histories(recorded: RecordedMethod, labels: Tensor) -> dict[str, Tensor]:
    """What all visits of each example come to."""
    count, classes = len(labels), recorded.logits[0].shape[1]
    indices, logits = torch.cat(recorded.indices), torch.cat(recorded.logits)
    own = labels[indices]
    values = logits.gather(1, own[:, None]).squeeze(1)
    others = logits.scatter(1, own[:, None], -torch.inf)
    margins = values - others.max(1).values
    probabilities = logits.softmax(1)
    share = probabilities.gather(1, own[:, None]).squeeze(1)
    votes = torch.zeros(count, classes)
    last = torch.full((count,), -1)
    first = torch.full((count,), -1)
    majority, lead = torch.full((count,), -1), torch.zeros(count, dtype=torch.int64)
    recent, ahead = torch.full((count,), -1), torch.zeros(count, dtype=torch.int64)
    for index, runner in zip(indices.tolist(), logits.argmax(1).tolist(), strict=True):
        if runner == labels[index]:
            continue
        votes[index, runner] += 1
        last[index] = runner
        if first[index] < 0:
            first[index] = runner
        if lead[index] == 0:
            majority[index], lead[index] = runner, 1
        else:
            lead[index] += 1 if majority[index] == runner else -1
        if recent[index] == runner:
            ahead[index] += 1
        elif ahead[index] <= 1:
            recent[index], ahead[index] = runner, 1
        else:
            ahead[index] -= 1
    summed = torch.zeros(count, classes).index_add_(0, indices, probabilities)
    summed.scatter_(1, labels[:, None], -1.0)
    runner_up = others.argmax(1)
    lasting = torch.full((count,), -1)
    lasting[indices] = runner_up

    def mean(what: Tensor) -> Tensor:
        seen = torch.zeros(count).index_add_(0, indices, torch.ones(len(indices)))
        return torch.zeros(count).index_add_(0, indices, what) / seen.clamp(min=1)

    return {
        "margin": mean(margins),
        "confidence": mean(share),
        "votes": torch.where(votes.sum(1) > 0, votes.argmax(1), -1),
        "last wrong": last,
        "first wrong": first,
        "majority of wrong": majority,
        "majority of wrong, the later of two": recent,
        "summed probability": summed.argmax(1),
        "runner-up at the last sighting": lasting,
    }


def scores(
    model: Any, done: Any, data: Part, seen: dict[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """Scores that are high where a label is likely wrong, and the classes it is likely of."""
    table = difficulty_table(done.examples_table)
    columns = {
        name: torch.tensor(table[name].fill_null(0.0).to_numpy().copy()).double()
        for name in ("mean_loss", "el2n", "forgotten", "correct", "seen")
    }
    scored = Evaluator(model, data, FLOAT32).score(torch.arange(len(data)))
    own = scored.logits.gather(1, data.labels[:, None]).squeeze(1)
    others = scored.logits.scatter(1, data.labels[:, None], -torch.inf)
    by_class = torch.zeros(10, dtype=torch.float64)
    for number in range(10):
        rows = columns["mean_loss"][data.labels == number]
        by_class[number] = rows.median() if len(rows) else 1.0
    relative = columns["mean_loss"] / by_class[data.labels].clamp(min=1e-6)
    return {
        "mean loss": columns["mean_loss"],
        "EL2N": columns["el2n"],
        "forgotten": columns["forgotten"],
        "share wrong": 1 - columns["correct"] / columns["seen"].clamp(min=1),
        "mean margin (AUM)": -seen["margin"].double(),
        "mean confidence": -seen["confidence"].double(),
        "last loss": scored.losses.double(),
        "last margin": -(own - others.max(1).values).double(),
        "mean loss / class median": relative,
    }, others.argmax(1)


def cross_validated(data: Part, meta: Any, epochs: int, seed: int) -> np.ndarray[Any, Any]:
    """Probabilities of models that were trained on the other folds."""
    generator = torch.Generator().manual_seed(seed)
    folds = torch.randperm(len(data), generator=generator) % FOLDS
    found = torch.zeros(len(data), 10)
    for fold in range(FOLDS):
        inside = (folds != fold).nonzero().flatten()
        model, _, _ = trained(Part(data, inside, data.labels[inside]), meta, epochs, seed)
        outside = (folds == fold).nonzero().flatten()
        found[outside] = Evaluator(model, data, FLOAT32).score(outside).logits.softmax(1)
    return found.numpy()


def area(score: Tensor, wrong: Tensor) -> float:
    """Area under the ROC curve, ties counted half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(wrong.numpy(), score.numpy()))


def precision(score: Tensor, wrong: Tensor) -> float:
    """Share wrong among as many as there are wrong."""
    count = int(wrong.sum())
    first = score.argsort(descending=True, stable=True)[:count]
    return float(wrong[first].double().mean())


def measure(case: Case, seed: int, epochs: int, prepared: Path, folds: bool) -> dict[str, Any]:
    loaded = load(prepared, CPU)
    data, wrong, true = planted(loaded.train, case, seed)
    started = time.perf_counter()
    model, done, recorded = trained(data, loaded.meta, epochs, seed)
    seconds = time.perf_counter() - started
    seen = histories(recorded, data.labels)
    ranked, runner_up = scores(model, done, data, seen)
    if folds:
        ranked |= cleanlab_scores(data, loaded.meta, epochs, seed)
    count = int(wrong.sum())
    result: dict[str, Any] = {
        **asdict(case),
        "seed": seed,
        "epochs": epochs,
        "count": len(data),
        "wrong": count,
        "seconds": seconds,
    }
    if count:
        result["area"] = {name: area(score, wrong) for name, score in ranked.items()}
        result["precision"] = {name: precision(score, wrong) for name, score in ranked.items()}
        named = {name: seen[name] for name in seen if name not in ("margin", "confidence")}
        named["runner-up of the final model"] = runner_up
        result["names the true class"] = {
            name: float((guess == true)[wrong].double().mean()) for name, guess in named.items()
        }
    if case.rare < 1:
        zeros = data.labels == 0
        result["share of class 0"] = float(zeros.double().mean())
        result["share of class 0 in the first 39"] = {
            name: float(zeros[score.argsort(descending=True, stable=True)[:39]].double().mean())
            for name, score in ranked.items()
        }
    return result


def cleanlab_scores(data: Part, meta: Any, epochs: int, seed: int) -> dict[str, Tensor]:
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return {}
    held_out = cross_validated(data, meta, epochs, seed)
    labels = data.labels.numpy()
    return {
        f"cleanlab, {method}": torch.tensor(
            -get_label_quality_scores(labels, held_out, method=method)
        )
        for method in ("self_confidence", "normalized_margin")
    }


def table(results: list[dict[str, Any]], what: str) -> str:
    cases = list(dict.fromkeys(one["name"] for one in results if what in one))
    rows = list(dict.fromkeys(name for one in results for name in one.get(what, {})))
    lines = [f"{what:36}" + "".join(f"{case:>24}" for case in cases)]
    for row in rows:
        cells = []
        for case in cases:
            values = [one[what][row] for one in results if one["name"] == case and row in one[what]]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else "–")
        lines.append(f"{row:36}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, nargs="+", default=[60])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES])
    parser.add_argument("--no-folds", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared"
        prepare.run(parameters(1, 0).prepare, prepared)
        for epochs in options.epochs:
            for case in CASES:
                if case.name not in options.cases:
                    continue
                named = (
                    case
                    if len(options.epochs) == 1
                    else replace(case, name=f"{case.name}, {epochs} epochs")
                )
                for seed in options.seeds:
                    results.append(measure(named, seed, epochs, prepared, not options.no_folds))
                    options.out.write_text(
                        json.dumps({"machine": machine.describe(), "results": results}, indent=1)
                    )
    for what in ("area", "precision", "names the true class", "share of class 0 in the first 39"):
        if any(what in one for one in results):
            print(table(results, what), end="\n\n")


if __name__ == "__main__":
    main()
