"""In how many samples a pilot finds planted label noise, and what it costs beside examining all.

    python -m benchmarks.quality.pilot --keep FOLDER [--cifar10 F] [--seeds 12] [--full 2]

Labels are wrong evenly over the other classes, of the bundled digits and of 10,000 and 50,000
images of CIFAR-10. ``--full`` seeds are examined in full as well. Seconds are of the processor.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.quality.label_runs import Case, Part, planted
from benchmarks.quality.mislabelled import sources
from crest.label_noise import LabelNoise, noise_of
from crest.label_noise.estimate import pilot_noise
from crest.label_noise.mixture import LEAST_EVIDENCE

SHARES = (0.0, 0.03, 0.05, 0.1, 0.2, 0.4)
SIZES = (("digits", 1297), ("cifar10", 10_000), ("cifar10", 50_000))


def timed(
    way: Callable[..., LabelNoise | None], data: Part, classes: int, seed: int
) -> list[float]:
    """Return the evidence that a way finds, and its seconds."""
    started = time.process_time()
    noise = way(data, classes, torch.Generator().manual_seed(seed))
    assert noise is not None
    return [noise.evidence, time.process_time() - started]


def line(found: list[list[float]]) -> str:
    """Return how many are found, the range of their evidence, and the mean of their seconds."""
    if not found:
        return "–"
    evidence, seconds = (sorted(column) for column in zip(*found, strict=True))
    count = sum(value >= LEAST_EVIDENCE for value in evidence)
    spread = f"{evidence[0]:.0f} to {evidence[-1]:.0f}"
    return f"{count} of {len(found)} | {spread} | {sum(seconds) / len(seconds):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--full", type=int, default=2)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    options = parser.parse_args()
    options.snli = None
    torch.set_num_threads(1)
    opened = sources(options)
    head = "found | evidence | seconds"
    print(f"| data | examples | wrong | pilot: {head} | all: {head} |\n" + "|---" * 9 + "|")
    for name, count in SIZES:
        source = opened(name)
        if source is None:
            continue
        for share in options.shares:
            case = Case(name, name, share, count)
            parts = [planted(source, case, seed)[0] for seed in range(options.seeds)]
            timed(pilot_noise, parts[0], source.classes, 0)  # what is imported first is not counted
            pilots, alls = (
                [timed(way, part, source.classes, seed) for seed, part in enumerate(some)]
                for way, some in ((pilot_noise, parts), (noise_of, parts[: options.full]))
            )
            cells = [line(pilots), line(alls)]
            print(f"| {name} | {count:,} | {share:.0%} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
