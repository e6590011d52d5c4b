"""What it costs that mini-batches are chosen some steps ahead, for the workers of a DataLoader.

    python -m benchmarks.quality.lag --seeds 5 --out lag.json

Digits, a small network of convolutions, six passes in mini-batches of 32 (Adam, a cosine). Each
method that chooses by the model is trained with several lags, everything else the same. It prints
the mean accuracy of the test with a lag of 1, the paired difference of each other lag with its
standard error, and how many examples were scored for each that was trained on.
"""

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.quality.tasks import Conv, accuracy, digits
from crest import Coresets, economical

SIZE, PASSES = 32, 6
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "focused": ("focused", {}),
    "crest, economical": ("crest", economical(SIZE)),
    "crest, as published": ("crest", {"subset_size": 128}),
    "greedy": ("greedy", {"subset_size": 128}),
}


def run(name: str, lag: int, seed: int) -> tuple[float, float]:
    """Train once; returns the accuracy in percent, and examples scored for each trained on."""
    data = digits(seed)
    torch.manual_seed(seed)
    model = Conv(10)
    steps = PASSES * len(data.inputs) // SIZE
    method, options = METHODS[name]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    arguments: dict[str, Any] = {"steps": steps, "batch_size": SIZE, "seed": seed, "lag": lag}
    coresets = Coresets(
        model, data.inputs.__getitem__, data.targets, method=method, **arguments, **options
    )
    for indices, weights in coresets:
        logits = model(data.inputs[indices])
        losses = F.cross_entropy(logits, data.targets[indices], reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
        schedule.step()
        coresets.step(logits)
    with torch.inference_mode():
        reached = accuracy(model.eval()(data.test_inputs), data.test_targets)
    counts = coresets._method.record().counts or {}
    return reached, counts.get("examples_scored", 0) / (steps * SIZE)


def main() -> None:
    """Train all, print a table, and keep every run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--lags", type=int, nargs="+", default=[9, 33])
    parser.add_argument("--only", nargs="+", default=list(METHODS))
    parser.add_argument("--out", type=Path, help="where every run is kept, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in arguments.only:
        runs = {
            lag: [run(name, lag, seed) for seed in range(arguments.seeds)]
            for lag in (1, *arguments.lags)
        }
        rows.append({"method": name, "runs": {str(lag): found for lag, found in runs.items()}})
        if arguments.out:
            arguments.out.write_text(json.dumps(rows))
        base = [reached for reached, _ in runs[1]]
        cells = [f"{name:20} {mean(base):6.2f}"]
        for lag in arguments.lags:
            gains = [reached - first for (reached, _), first in zip(runs[lag], base, strict=True)]
            error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
            cells.append(f"lag {lag}: {mean(gains):+.2f} ± {error:.2f}")
        cells.append(f"scored {mean(scored for _, scored in runs[1]):.2f}")
        print("  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
