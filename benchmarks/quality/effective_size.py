"""What weighted mini-batches are worth over training: Kish's effective size.

    python -m benchmarks.quality.effective_size --project FOLDER --out FILE

FOLDER holds prepared data (the bundled digits, from `python cli.py prepare`). Every setting is
trained under the preset, and of each tenth of its steps it prints the mean of (Σw)² / (m Σw²) over
the mini-batches that were trained on, or of the coresets that they are drawn from where those are
larger (craig, gradmatch, glister): 1 where all weights are equal, 1/m where one example has all of
it; and the greatest weight, beside a mean of 1. A mini-batch of m examples whose effective size is
half has about the noise of one of m/2, if weights have nothing to do with gradients.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.shared.machine import describe
from crest.config import parse
from crest.pipeline.inputs import configure_torch, prepared_data, run_precision
from crest.pipeline.paths import Paths
from crest.pipeline.runs import train_model
from crest.presets import merged, preset

PARTS = 10
AS_PUBLISHED: Mapping[str, Any] = {"choice": "facility_location", "outputs": "fresh"}
SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "crest, facility location": ("crest", {"crest": {"choice": "facility_location"}}),
    "crest, facility location, fresh outputs": (
        "crest",
        {"crest": {**AS_PUBLISHED, "focus": {"exponent": 0.0}}},
    ),
    "crest, spatially balanced": ("crest", {}),
    "crest, focus with weights": ("crest", {"crest": {"focus": {"weights": True}}}),
    "craig": ("craig", {}),
    "gradmatch": ("gradmatch", {}),
    "glister": ("glister", {}),
}


def by_tenth(coresets: pl.DataFrame, steps: pl.DataFrame) -> list[dict[str, float]]:
    """Return the effective size and the greatest weight of what each tenth of steps trained on."""
    minibatch = ["region", "minibatch"]
    weight = pl.col("weight").cast(pl.Float64)
    sizes = coresets.group_by(minibatch).agg(
        effective=weight.sum().pow(2) / weight.pow(2).sum() / pl.len(),
        greatest=weight.max() / weight.mean(),
    )
    keys = minibatch if steps["minibatch"].max() != -1 else ["region"]
    placed = steps.join(sizes, on=keys, how="inner")
    tenths = (
        placed.group_by(tenth=pl.col("step") * PARTS // steps.height)
        .agg(pl.col("effective", "greatest").mean())
        .sort("tenth")
    )
    return tenths.to_dicts()


def main() -> None:
    """Train each setting, print, and write a row a setting and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--preset", default="digits")
    parser.add_argument("--only", nargs="+", default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sections = {k: values for k, values in preset(options.preset).items() if k != "description"}
    rows = []
    for name in options.only:
        method, changes = SETTINGS[name]
        for seed in options.seeds:
            train = {"train": {"seed": seed, "threads": 1, "snapshots": 0}}
            given = merged(merged(sections, train), changes)
            parameters = parse(given, "effective_size")
            configure_torch(parameters)
            precision = run_precision(parameters)
            data = prepared_data(parameters, Paths(options.project), precision.device)
            done = train_model(parameters, data, method, precision, None).run
            assert done.record.coresets is not None
            tenths = by_tenth(done.record.coresets, done.steps)
            rows.append({"setting": name, "method": method, "seed": seed, "tenths": tenths})
            cells = " ".join(f"{tenth['effective']:.2f}" for tenth in tenths)
            worst = max(tenth["greatest"] for tenth in tenths)
            print(f"{name}, seed {seed}: {cells}; greatest weight {worst:.1f}", flush=True)
    result = {"machine": describe(), "preset": options.preset, "rows": rows}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
