"""How well wrong labels are found, by ranking and by decision, and whether the class is named.

    python -m benchmarks.quality.mislabelled --out FILE --keep FOLDER [--cifar10 F] [--snli F]

Plants wrong labels among the bundled digits, CIFAR-10 and SNLI, evenly over the other classes or
from classes to similar ones, and trains as random sampling does. From that one run examples are
ranked, and decided on, by what the project makes of it (``crest.analysis``). Beside it stand
cleanlab's rankings and ``find_label_issues`` where cleanlab can be imported, on out-of-sample
predictions by four-fold cross-validation of the same model, of as many seconds as the run took
and of four times as many; and AUM with threshold samples (Pleiss et al. 2020), which takes a run of
its own. Prints the average precision of rankings, precision, recall and F1 of sets, the estimated
share of wrong labels, and how often each way of naming the class names the true one.

cleanlab is no dependency; `pip install --target FOLDER --no-deps cleanlab tqdm termcolor`
and `PYTHONPATH=FOLDER` put it beside. ``--keep`` holds the trainings, so that none is done twice.
"""

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.label_finders import all_ways, measures
from benchmarks.quality.label_runs import (
    WAYS,
    Case,
    Source,
    Visits,
    collect,
    images,
    sentences,
)
from benchmarks.shared import machine
from crest.config import parse
from stages import prepare

CIFAR10 = 10_000  # images of the share
CASES = (
    Case("432, 9%", "digits", 0.09, examples=432),
    Case("digits, none", "digits", 0.0),
    Case("digits, 9%", "digits", 0.09),
    Case("digits, 20%", "digits", 0.2),
    Case("digits, 40%", "digits", 0.4),
    Case("digits, similar 20%", "digits", 0.2, similar=True),
    Case("rare class, 9%", "digits", 0.09, rare=0.1),
    Case("rare class, none wrong", "digits", 0.0, rare=0.1),
    Case("cifar10, none", "cifar10", 0.0, CIFAR10),
    Case("cifar10, 10%", "cifar10", 0.1, CIFAR10),
    Case("cifar10, 20%", "cifar10", 0.2, CIFAR10),
    Case("cifar10, 40%", "cifar10", 0.4, CIFAR10),
    Case("cifar10, similar 20%", "cifar10", 0.2, CIFAR10, similar=True),
    Case("cifar10, similar 40%", "cifar10", 0.4, CIFAR10, similar=True),
    Case("cifar10, 20%, 40 passes", "cifar10", 0.2, CIFAR10, epochs=40),
    Case("snli, none", "snli", 0.0),
    Case("snli, 10%", "snli", 0.1),
    Case("snli, 20%", "snli", 0.2),
    Case("snli, 40%", "snli", 0.4),
    Case("snli, similar 20%", "snli", 0.2, similar=True),
)
FIRST = 39  # of a ranking, in which a rare class is counted
PRINTED = (
    "average precision",
    "share",
    "calibration error",
    "precision",
    "recall",
    "F1",
    "names the true class",
)


def named_classes(visits: Visits, labels: Tensor) -> dict[str, Tensor]:
    """The class that each example is taken for, by several ways of naming it."""
    indices, logits = visits.indices, visits.logits
    count, classes = len(labels), logits.shape[1]
    own = labels[indices]
    others = logits.scatter(1, own[:, None], -torch.inf)
    probabilities = logits.softmax(1)
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

    final = visits.final.scatter(1, labels[:, None], -torch.inf)
    return {
        "votes": torch.where(votes.sum(1) > 0, votes.argmax(1), -1),
        "last wrong": last,
        "first wrong": first,
        "majority of wrong": majority,
        "majority of wrong, the later of two": recent,
        "summed probability": summed.argmax(1),
        "runner-up at the last sighting": lasting,
        "runner-up of the final model": final.argmax(1),
    }


def measure(kept: dict[str, Any]) -> dict[str, Any]:
    """Return what every way achieves in a case."""
    labels, true = kept["labels"], kept["true"]
    wrong = labels != true
    ways = all_ways(kept)
    result: dict[str, Any] = {
        **kept["case"],
        "seed": kept["seed"],
        "count": len(labels),
        "wrong": int(wrong.sum()),
        "ways": {name: measures(found, wrong) for name, found in ways.items()},
    }
    if kept["case"]["rare"] < 1:
        zeros = labels == 0
        result["share of class 0"] = float(zeros.double().mean())
        for name, found in ways.items():
            if found.scores is not None:
                first = found.scores.argsort(descending=True, stable=True)[:FIRST]
                share = float(zeros[first].double().mean())
                result["ways"][name][f"share of class 0 in the first {FIRST}"] = share
    if "run" in kept and wrong.any():
        result["ways"] |= {
            f"taken for: {name}": {
                "names the true class": float((named == true)[wrong].double().mean())
            }
            for name, named in named_classes(kept["run"], labels).items()
        }
    return result


def table(results: list[dict[str, Any]], what: str) -> str:
    """Return one measure of every way and case: means over seeds, and deviations of several."""
    cases = list(dict.fromkeys(one["name"] for one in results))
    ways = list(
        dict.fromkeys(name for one in results for name in one["ways"] if what in one["ways"][name])
    )
    lines = [f"{what:52}" + "".join(f"{case:>25}" for case in cases)]
    for way in ways:
        cells = []
        for case in cases:
            values = [
                one["ways"][way][what]
                for one in results
                if one["name"] == case and what in one["ways"].get(way, {})
            ]
            spread = f" ± {np.std(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}" if values else "–")
        lines.append(f"{way:52}" + "".join(f"{cell:>25}" for cell in cells))
    return "\n".join(lines)


def sources(options: argparse.Namespace) -> Callable[[str], Source | None]:
    """Return what opens a data set, once; None where its folder was not named."""

    @cache
    def opened(name: str) -> Source | None:
        if name == "snli":
            return None if options.snli is None else sentences(options.snli)
        if name == "cifar10" and options.cifar10 is None:
            return None
        given = {"dataset": name, "source": str(options.cifar10), "validation": 0.0}
        settings = parse({"prepare": given if name == "cifar10" else {}}, "benchmark")
        folder = options.keep / f"{name}-prepared"
        if not folder.is_dir():
            prepare.run(settings.prepare, folder)
        return images(folder, name)

    return opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path)
    parser.add_argument("--snli", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES])
    parser.add_argument("--ways", nargs="*", default=WAYS, help="trainings that may be done")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    opened = sources(options)
    for case in (case for case in CASES if case.name in options.cases):
        source = opened(case.data)
        if source is None:
            continue
        for seed in options.seeds:
            kept = collect(source, case, seed, options.keep, options.ways)
            seconds = {
                name: kept[name].seconds if name == "run" else kept[name][1]
                for name in WAYS[:-1]
                if name in kept
            }
            results.append(measure(kept) | {"seconds": seconds})
            text = json.dumps({"machine": machine.describe(), "results": results}, indent=1)
            options.out.write_text(text)
    for what in PRINTED:
        print(table(results, what), end="\n\n")


if __name__ == "__main__":
    main()
