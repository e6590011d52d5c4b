"""A step in bf16, float16 and float32, with channels last and first in memory, in turns.

    python -m benchmarks.speed.formats --threads 1 --out formats.json

Forward and backward pass of made-up mini-batches by the processor. Prints medians of processor
milliseconds, and the ratio to bf16 with channels last, with its quartiles over the turns. float16
is timed with the small network alone: many processors emulate it.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.shared.machine import describe
from crest.models import build

LAYOUTS = {"last": torch.channels_last, "first": torch.contiguous_format}
TYPES = {"bf16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
CLASSES = 10
# Name, pixels a side, channels, examples, steps of a turn, and formats.
MODELS = (
    ("convnet", 8, 1, 32, 10, ("bf16", "float32", "float16")),
    ("resnet20", 32, 3, 128, 1, ("bf16", "float32")),
    ("resnet18", 32, 3, 16, 1, ("bf16", "float32")),
)


class Steps:
    """A model that computes gradients of one mini-batch."""

    def __init__(self, name: str, side: int, channels: int, count: int, kind: str, layout: str):
        generator = torch.Generator().manual_seed(0)
        shape = (side, side, channels)
        model = build(name, classes=CLASSES, image_shape=shape, stem="cifar", seed=0)
        self._model: nn.Module = model.to(memory_format=LAYOUTS[layout])
        images = torch.randn(count, channels, side, side, generator=generator)
        self._images = images.contiguous(memory_format=LAYOUTS[layout])
        self._labels = torch.randint(CLASSES, (count,), generator=generator)
        self._type = TYPES[kind]

    def milliseconds(self, times: int) -> float:
        """Compute them so many times; processor milliseconds of one."""
        started = time.process_time()
        for _ in range(times):
            self._model.zero_grad(set_to_none=True)
            with torch.autocast("cpu", self._type, enabled=self._type is not torch.float32):
                logits = self._model(self._images)
            F.cross_entropy(logits.float(), self._labels).backward()
        return 1e3 * (time.process_time() - started) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where to write the table as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[dict[str, Any]] = []
    for name, side, channels, count, times, kinds in MODELS:
        every = {
            (kind, layout): Steps(name, side, channels, count, kind, layout)
            for kind in kinds
            for layout in LAYOUTS
        }
        taken: dict[tuple[str, str], list[float]] = {arm: [] for arm in every}
        for turn in range(-1, arguments.turns):  # one to warm up
            for arm, steps in every.items():
                took = steps.milliseconds(times)
                if turn >= 0:
                    taken[arm].append(took)
        first = next(iter(taken.values()))
        for (kind, layout), each in taken.items():
            ratios = [mine / its for mine, its in zip(each, first, strict=True)]
            quartiles = [round(value, 2) for value in statistics.quantiles(ratios, n=4)]
            median = round(statistics.median(each), 2)
            print(f"{name}, {kind}, channels {layout}: {median} ms, {quartiles}", flush=True)
            rows.append(
                {"model": name, "type": kind, "layout": layout, "ms": median, "ratio": quartiles}
            )
    if arguments.out is not None:
        report = {"machine": describe(), "rows": rows}
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
