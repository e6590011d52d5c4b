"""Seconds that prepare takes for CIFAR-10, against a plain loop that decodes the same files.

    python -m benchmarks.data.prepare --source FOLDER --out prepare.json

FOLDER holds CIFAR-10 in the Parquet layout of the Hugging Face hub (train-*.parquet and
test-*.parquet). `prepare` runs as a user would run it, start of Python included, on all cores; the
plain loop decodes with Pillow one image after another in one process, started in the same way. They
take turns. Both write 60,000 images to a temporary folder, which is removed after.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from benchmarks import ROOT
from benchmarks.shared import machine

PLAIN_LOOP = """
import io, sys
from pathlib import Path
import numpy as np
import polars as pl
from PIL import Image
source, out = map(Path, sys.argv[1:])
for split in ("train", "test"):
    table = pl.concat([pl.read_parquet(file) for file in sorted(source.glob(split + "-*.parquet"))])
    column = next(name for name in table.columns if name in ("img", "image"))
    contents = table[column].struct.field("bytes")
    images = np.empty((len(contents), 32, 32, 3), dtype=np.uint8)
    for row, content in enumerate(contents):
        images[row] = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.save(out / f"{split}_images.npy", images)
    np.save(out / f"{split}_labels.npy", table["label"].to_numpy())
"""


@dataclass(frozen=True)
class Round:
    """Seconds of one run of each, and seconds of processor time that each took."""

    prepare: float
    plain: float
    prepare_processor: float
    plain_processor: float


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command to its end; seconds on the clock and of all its processor time."""
    before = os.times()
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    after = os.times()
    children = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return seconds, children


def run(source: Path, plain_first: bool) -> Round:
    """Measure both once, and check that they decode the same pixels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain").mkdir()
        parameters = {"dataset": "cifar10", "source": str(source), "validation": 0.0}
        (folder / "params.yaml").write_text(json.dumps({"prepare": parameters}))
        commands = {
            "prepare": [sys.executable, str(ROOT / "cli.py"), "prepare"],
            "plain": [sys.executable, "-c", PLAIN_LOOP, str(source), str(folder / "plain")],
        }
        order = ("plain", "prepare") if plain_first else ("prepare", "plain")
        taken = {title: timed(commands[title], folder) for title in order}
        for split in ("train", "test"):
            ours, theirs = (
                (folder / place / f"{split}_images.npy").read_bytes()
                for place in ("data/prepared", "plain")
            )
            if ours != theirs:
                raise SystemExit(f"{split}: prepare and the plain loop decoded different pixels")
        return Round(taken["prepare"][0], taken["plain"][0], taken["prepare"][1], taken["plain"][1])


def summarise(rounds: list[Round], images: int) -> dict[str, float]:
    cores = os.cpu_count() or 1
    prepare = statistics.median(taken.prepare for taken in rounds)
    plain = statistics.median(taken.plain for taken in rounds)
    return {
        "images": images,
        "seconds": prepare,
        "images_per_second": images / prepare,
        "images_per_second_per_core": images / prepare / cores,
        "plain_seconds": plain,
        "plain_images_per_second": images / plain,
        "speed_up": statistics.median(taken.plain / taken.prepare for taken in rounds),
        "processor_seconds": statistics.median(taken.prepare_processor for taken in rounds),
        "plain_processor_seconds": statistics.median(taken.plain_processor for taken in rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to write everything as JSON")
    arguments = parser.parse_args()
    source = arguments.source.expanduser().resolve()
    images = pl.scan_parquet(source / "*.parquet").select(pl.len()).collect().item()
    rounds = [run(source, number % 2 == 1) for number in range(arguments.rounds)]
    found = summarise(rounds, images)
    print(f"{'':10} {'seconds':>8} {'images/s':>9} {'per core':>9} {'processor':>11}")
    print(
        f"{'prepare':10} {found['seconds']:8.1f} {found['images_per_second']:9.0f} "
        f"{found['images_per_second_per_core']:9.0f} {found['processor_seconds']:9.1f} s"
    )
    print(
        f"{'plain loop':10} {found['plain_seconds']:8.1f} {found['plain_images_per_second']:9.0f} "
        f"{found['plain_images_per_second']:9.0f} {found['plain_processor_seconds']:9.1f} s"
    )
    print(f"prepare is {found['speed_up']:.2f} times as fast, from one process to all cores")
    if arguments.out is not None:
        record = {
            "machine": machine.describe(),
            "summary": found,
            "rounds": [asdict(taken) for taken in rounds],
        }
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
