"""Peak memory of prepare and train, for a data set of CIFAR-10's size and one ten times as large.

    python -m benchmarks.memory.stages --out memory.json

Writes synthetic data sets of 32x32 colour images in the Parquet layout of the Hugging Face hub to a
temporary folder (a few distinct images, repeated), runs the two stages as a user would, and samples
their memory. Anonymous memory is what a process needs for itself; resident memory also counts the
pages of mapped files, which the system takes back when it needs them. Prints a table.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from benchmarks import ROOT

SIDE = 32
CLASSES = 10
DISTINCT = 200  # different images
SHARD = 50_000  # rows of a file
ROW_GROUP = 1000  # rows, as the hub writes them
TEST = 10_000  # examples
STEPS = 20  # of training
BATCH = 128
SUBSET = 500
POLL = 0.02  # seconds between samples


@dataclass(frozen=True)
class Usage:
    """What a stage took: peaks in MiB, wall-clock in seconds."""

    stage: str
    examples: int
    anonymous: float
    resident: float
    seconds: float


def png(seed: int, side: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_split(folder: Path, split: str, examples: int, side: int = SIDE) -> None:
    """Write SPLIT-*.parquet of structs with bytes and a path, and of labels."""
    images = [{"bytes": png(seed, side), "path": None} for seed in range(DISTINCT)]
    kinds = {"image": pl.Struct({"bytes": pl.Binary, "path": pl.String}), "label": pl.Int64}
    shards = -(-examples // SHARD)
    for shard in range(shards):
        rows = range(shard * SHARD, min((shard + 1) * SHARD, examples))
        columns = {
            "image": [images[row % DISTINCT] for row in rows],
            "label": [row % CLASSES for row in rows],
        }
        pl.DataFrame(columns, schema=kinds).write_parquet(
            folder / f"{split}-{shard:05}-of-{shards:05}.parquet",
            row_group_size=ROW_GROUP,
            compression="uncompressed",
        )


def write_parameters(folder: Path, examples: int, model: str) -> None:
    """Write a parameter file whose training takes the same steps for any number of examples."""
    prepare = {"dataset": "parquet", "source": str(folder / "source")}
    train = {
        "methods": ["crest"],
        "model": model,
        "batch_size": BATCH,
        "epochs": 10.0 * STEPS * BATCH / (0.9 * examples),
        "budget": 0.1,
        "augment_crop": 4,
        "augment_flip": True,
        "validations": 1,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
        "save_interval": 1.0,
    }
    crest = {"subset_size": SUBSET, "minibatch_factor": 1.0, "threshold": 0.01}
    text = json.dumps({"prepare": prepare, "train": train, "crest": crest})
    (folder / "params.yaml").write_text(text)


def memory(process: int) -> tuple[int, int]:
    """Return anonymous and resident memory of a process, in bytes; zeros when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    found = dict(line.split(":", 1) for line in lines)
    return tuple(int(found.get(key, "0 kB").split()[0]) * 1024 for key in ("RssAnon", "VmRSS"))


def measure(
    project: Path, examples: int, stage: str, *options: str, checkout: Path = ROOT
) -> Usage:
    """Run a stage of a checkout and sample its memory until it ends."""
    started = time.perf_counter()
    command = [sys.executable, str(checkout / "cli.py"), stage, *options]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL)
    peaks = (0, 0)
    while process.poll() is None:
        peaks = tuple(map(max, peaks, memory(process.pid)))
        time.sleep(POLL)
    if process.returncode:
        raise SystemExit(f"{stage} ended with {process.returncode}")
    anonymous, resident = (peak / 2**20 for peak in peaks)
    return Usage(stage, examples, anonymous, resident, time.perf_counter() - started)


def run(examples: int, model: str) -> list[Usage]:
    """Measure both stages on a data set of so many training images, all of them removed after."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "source").mkdir()
        write_split(project / "source", "train", examples)
        write_split(project / "source", "test", TEST)
        write_parameters(project, examples, model)
        return [
            measure(project, examples, "prepare"),
            measure(project, examples, "train", "--method", "crest"),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--model", default="convnet")
    parser.add_argument("--out", type=Path, help="where to write the table as JSON")
    arguments = parser.parse_args()
    usages = [usage for examples in arguments.examples for usage in run(examples, arguments.model)]
    print(
        f"{'stage':8} {'images':>8} {'arrays':>10} {'anonymous':>11} {'resident':>10} {'time':>8}"
    )
    for usage in usages:
        arrays = (usage.examples + TEST) * (SIDE * SIDE * 3 + 8) / 2**20
        print(
            f"{usage.stage:8} {usage.examples:8} {arrays:6.0f} MiB {usage.anonymous:7.0f} MiB "
            f"{usage.resident:6.0f} MiB {usage.seconds:6.1f} s"
        )
    for stage in ("prepare", "train"):
        first, *_, last = [usage for usage in usages if usage.stage == stage]
        if last.examples > first.examples:
            growth = (last.anonymous - first.anonymous) * 2**20 / (last.examples - first.examples)
            print(f"{stage}: anonymous memory grows by {growth:.0f} bytes an example")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps([asdict(usage) for usage in usages], indent=2) + "\n")


if __name__ == "__main__":
    main()
