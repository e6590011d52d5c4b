"""Processor seconds of a ResNet-20 step with GroupNorm, ours against torch's, and with BatchNorm.

    python -m benchmarks.speed.group_norm --threads 1 --out group_norm.json

Forward and backward pass of made-up mini-batches in channels last under bf16 autocast, as training
takes them on a processor, in turns. Medians and quartiles of the ratios to BatchNorm's turn.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.shared.machine import describe
from crest.models.resnet20 import GROUPS, ResNet20, group_norm

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BatchNorm": nn.BatchNorm2d,
    "GroupNorm, torch's": lambda channels: nn.GroupNorm(GROUPS, channels),
    "GroupNorm, ours": group_norm,
}


def step_seconds(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Take one forward and backward pass; processor seconds."""
    start = time.process_time()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    F.cross_entropy(logits.float(), labels).backward()
    return time.process_time() - start


def quartiles(values: list[float]) -> list[float]:
    return [round(value, 3) for value in statistics.quantiles(values, n=4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(arguments.batch_size, 3, 32, 32, generator=generator)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (arguments.batch_size,), generator=generator)
    models = {
        name: ResNet20(10, 3, norm).to(memory_format=torch.channels_last)
        for name, norm in NORMS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(-2, arguments.turns):  # two to warm up
        for name, model in models.items():
            spent = step_seconds(model, images, labels)
            if turn >= 0:
                seconds[name].append(spent)
    rows = []
    for name, each in seconds.items():
        ratios = [mine / batch for mine, batch in zip(each, seconds["BatchNorm"], strict=True)]
        taken, (low, median, high) = quartiles(each), quartiles(ratios)
        print(f"{name:20} {taken[1]:.3f} s a step, ÷ BatchNorm's {median} ({low}–{high})")
        rows.append({"norm": name, "seconds": taken, "over_batch_norm": [low, median, high]})
    if arguments.out is not None:
        report = {"machine": describe(), "batch_size": arguments.batch_size, "norms": rows}
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
