"""What a storage of images is worth: accuracy, bytes and loading, on Tiny ImageNet's JPEGs.

    python -m benchmarks.quality.storages --source TINYIMAGENET --out FILE

A small ResNet learns images of 64 pixels of which it is given 32: originals twice as large as what
the network takes, as photographs of 500 pixels are to 224. Each arm is prepared as `prepare` does
and trained by random mini-batches with flips, all of a seed from the same weights and in the same
order; what differs is where the crops come from. A finished run is a row of FILE and is not run
again. It prints the rows as a table: accuracy on the test split, mean ± deviation, the differences
of paired seeds ± standard error, bytes an image, and processor milliseconds of a view.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from benchmarks.shared.machine import describe
from crest.config import Parameters, parse
from crest.data.build import build
from crest.data.datasets import open_source
from crest.data.files import ImageMeta
from crest.data.prepared import Prepared, load
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.models import preprocessing_of
from crest.parameters.sections import PrepareParameters
from crest.pipeline.inputs import augmentation_of, configure_torch, run_precision
from crest.pipeline.provenance import git_commit
from crest.pipeline.runs import train_model

CPU = torch.device("cpu")
VIEW = 32  # pixels a side that the network takes
BATCH = 64
TIMED = 30  # batches


@dataclass(frozen=True)
class Arm:
    """How images are stored, and how views are cropped."""

    storage: str
    side: int
    resized_crops: bool = True

    @property
    def crops(self) -> dict[str, Any]:
        """The parameters of train that differ."""
        return {"augment_scale": [SCALE, 1.0]} if self.resized_crops else {"augment_crop": 4}


SCALE = 0.25  # least share of the area, as in the preset for photographs
ARMS = {
    "encoded": Arm("encoded", VIEW),
    "pixels 48": Arm("pixels", 48),
    "pixels 32": Arm("pixels", VIEW),
    "pixels 32, padded crops": Arm("pixels", VIEW, resized_crops=False),
}


def prepare(arm: Arm, source: str, folder: Path) -> ImageMeta:
    """Prepare the images of an arm, as `prepare` does."""
    folder.mkdir()
    params = PrepareParameters(
        dataset="tinyimagenet",
        source=source,
        image_size=arm.side,
        storage=arm.storage,  # type: ignore[arg-type]
        validation=0.0,
    )
    meta = build(open_source(params), params, folder, lambda done: None)
    assert isinstance(meta, ImageMeta)
    return meta


def parameters_of(arm: Arm, passes: float, seed: int) -> Parameters:
    """Return what an arm is trained with."""
    values = {"epochs": passes, "budget": 1.0, "batch_size": BATCH, "seed": seed, "threads": 1}
    given = {"model": "resnet8", "augment_flip": True, "validations": 0, **values, **arm.crops}
    given["input_size"] = None if arm.side == VIEW else VIEW
    return parse({"train": given}, "storages")


def opened(folder: Path, meta: ImageMeta, parameters: Parameters) -> Prepared:
    """Open an arm's data as a run does."""
    settings = parameters.train
    return load(folder, CPU, augmentation_of(settings), preprocessing_of(settings, meta))


def run(arm: Arm, folder: Path, meta: ImageMeta, passes: float, seed: int) -> dict[str, Any]:
    """Train and evaluate."""
    parameters = parameters_of(arm, passes, seed)
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = opened(folder, meta, parameters)
    started = time.process_time()
    trained = train_model(parameters, data, "random", precision, None)
    seconds = time.process_time() - started
    evaluation = evaluate(Evaluator(trained.model, data.test, precision))
    return {
        "seed": seed,
        "passes": passes,
        "accuracy": evaluation.accuracy,
        "cpu_seconds": seconds,
        "steps": trained.metrics["steps"],
        "precision": precision.name,
        "train_loss": trained.metrics["train_loss"],
    }


def milliseconds(arm: Arm, folder: Path, meta: ImageMeta) -> float:
    """Return processor milliseconds of a view of a random training image."""
    split = opened(folder, meta, parameters_of(arm, 1, 0)).train
    generator = torch.Generator().manual_seed(0)
    for timed in (False, True):
        started = time.process_time()
        for _ in range(TIMED if timed else 2):
            indices = torch.randint(len(split), (BATCH,), generator=generator)
            split.views(indices, split.draw_views(BATCH, generator))
    return (time.process_time() - started) / (TIMED * BATCH) * 1000


def bytes_an_image(folder: Path, examples: int) -> float:
    """Return what a training image takes on the disk."""
    parts = ("images", "bytes", "offsets", "shapes")
    found = (folder / f"train_{part}.npy" for part in parts)
    return sum(path.stat().st_size for path in found if path.is_file()) / examples


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of the table; differences are those from pixels of VIEW."""
    by_arm = {name: {row["seed"]: row for row in rows if row["arm"] == name} for name in ARMS}
    lines = [
        "| stored | bytes an image | ms a view | accuracy | − pixels 32 |",
        "|---|---|---|---|---|",
    ]
    for name, found in by_arm.items():
        if not found:
            continue
        values = [100 * row["accuracy"] for row in found.values()]
        base = by_arm["pixels 32"]
        differences = [
            100 * (found[seed]["accuracy"] - base[seed]["accuracy"])
            for seed in found
            if seed in base
        ]
        of = next(iter(found.values()))
        cells = (f"{of['bytes']:,.0f}", f"{fmean(row['ms_a_view'] for row in found.values()):.2f}")
        paired = "–" if name == "pixels 32" else _with_error(differences)
        accuracy = f"{fmean(values):.2f} ± {stdev(values) if len(values) > 1 else 0:.2f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {accuracy} ({len(values)}) | {paired} |")
    return lines


def _with_error(differences: Sequence[float]) -> str:
    if len(differences) < 2:
        return "–"
    return f"{fmean(differences):+.2f} ± {stdev(differences) / len(differences) ** 0.5:.2f}"


def main() -> None:
    """Run what has no row yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True, help="Tiny ImageNet as Parquet")
    parser.add_argument("--out", type=Path, required=True, help="rows, a JSON list")
    parser.add_argument("--passes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(arguments.out.read_text()) if arguments.out.is_file() else []
    done = {(row["arm"], row["seed"], row["passes"]) for row in rows}
    about = {"machine": describe(), "commit": git_commit(), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as name:
        folders = {arm: Path(name) / str(number) for number, arm in enumerate(ARMS)}
        metas = {arm: prepare(ARMS[arm], arguments.source, folders[arm]) for arm in ARMS}
        for seed in arguments.seeds:
            for arm, folder in folders.items():
                if (arm, seed, arguments.passes) in done:
                    continue
                row = {"arm": arm, **run(ARMS[arm], folder, metas[arm], arguments.passes, seed)}
                row["bytes"] = bytes_an_image(folder, metas[arm].sizes["train"])
                row["ms_a_view"] = milliseconds(ARMS[arm], folder, metas[arm])
                row |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), **about}
                rows.append(row)
                arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
                print(f"{arm}, seed {seed}: {row['accuracy']:.4f}", flush=True)
    print("\n".join(table([row for row in rows if row["passes"] == arguments.passes])))


if __name__ == "__main__":
    main()
