"""How far scores of difficulty agree with each other, between runs, and with wrong labels.

    python -m benchmarks.quality.agreement --keep FOLDER --cifar10 CIFAR10 --out FILE

Digits and 10,000 images of CIFAR-10, with right labels and with a fifth of them wrong, trained with
random mini-batches (the runs of benchmarks.quality.mislabelled, which --keep holds). Of each run
every example has a score by

forgetting  times that it went from right to wrong (Toneva et al., ICLR 2019)
EL2N        mean norm of p − y in the first tenth of the steps (Paul et al., NeurIPS 2021)
margin      minus the mean margin over all visits (AUM, Pleiss et al., NeurIPS 2020)
mean loss   over all visits
last loss   of the last visit

It prints Spearman's coefficient of each two, of each with itself under another seed of the
training, and the average precision of each at finding the wrong labels, where chance has their
share.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality.label_finders import Found, mean_margins, measures
from benchmarks.quality.label_runs import (
    SETTINGS,
    Case,
    Source,
    Visits,
    collect,
    planted,
    trained,
)
from benchmarks.quality.mislabelled import CASES, sources
from benchmarks.quality.staleness import rank_correlation
from benchmarks.shared.machine import describe

NAMES = ("digits, none", "digits, 20%", "cifar10, none", "cifar10, 20%")
EARLY = 0.1  # of the visits


def scores_of(visits: Visits, labels: Tensor) -> dict[str, Tensor]:
    """Return each score of n examples, float64; the higher the harder."""
    count, own = len(labels), labels[visits.indices]
    losses = F.cross_entropy(visits.logits, own, reduction="none").double()
    seen = torch.bincount(visits.indices, minlength=count).clamp(min=1)
    last = torch.zeros(count, dtype=torch.float64)
    last[visits.indices] = losses  # a later visit replaces an earlier one
    table = visits.examples.filter(visits.examples["pass"] == "training")
    return {
        "forgetting": torch.tensor(table["forgotten"].to_list(), dtype=torch.float64),
        "EL2N": early_error(visits, own, count),
        "margin": -mean_margins(visits, labels).double(),
        "mean loss": torch.zeros(count).double().index_add_(0, visits.indices, losses) / seen,
        "last loss": last,
    }


def early_error(visits: Visits, own: Tensor, count: int) -> Tensor:
    """Return the mean norm of p − y in the first visits; NaN where there was none."""
    first = slice(round(EARLY * len(visits.indices)))
    error = visits.logits[first].double().softmax(1) - F.one_hot(own[first], visits.logits.shape[1])
    indices = visits.indices[first]
    total = torch.zeros(count).double().index_add_(0, indices, error.norm(dim=1))
    return total / torch.bincount(indices, minlength=count)


def agreement(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """Return Spearman's coefficient of every score of one run with every one of another."""
    found = {}
    for name, values in one.items():
        for counterpart, others in other.items():
            both = values.isfinite() & others.isfinite()
            key = f"{name} / {counterpart}"
            found[key] = rank_correlation(values[both], others[both])
    return found


def row_of(case: Case, source: Source, seed: int, keep: Path) -> dict[str, Any]:
    """Train a case twice, and compare the scores."""
    kept = collect(source, case, seed, keep, ["run"])
    labels = kept["labels"]
    scores = scores_of(kept["run"], labels)
    data, _ = planted(source, case, seed)
    epochs = case.epochs or SETTINGS[case.data]["epochs"]
    again = scores_of(trained(source, data, case, seed + 1000, epochs)[1], labels)
    wrong = labels != kept["true"]
    known = scores["EL2N"].isfinite()
    return {
        "case": case.name,
        "seed": seed,
        "examples": len(labels),
        "wrong": float(wrong.double().mean()),
        "between": agreement(scores, scores),
        "again": {name: agreement(scores, again)[f"{name} / {name}"] for name in scores},
        "precision": {
            name: measures(Found(values[known]), wrong[known])["average precision"]
            for name, values in scores.items()
            if wrong.any()
        },
    }


def main() -> None:
    """Compare, print, and write a row a case and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--snli", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    opened = sources(options)
    rows = []
    for case in (case for case in CASES if case.name in NAMES):
        source = opened(case.data)
        assert source is not None
        for seed in options.seeds:
            rows.append(row_of(case, source, seed, options.keep))
            print(json.dumps(rows[-1], indent=1), flush=True)
    options.out.write_text(json.dumps({"machine": describe(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
