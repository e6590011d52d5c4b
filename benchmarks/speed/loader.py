"""A training step over a DataLoader whose workers decode, with LossBatchSampler and with torch's.

    python -m benchmarks.speed.loader --workers 1 --rounds 20

Three loops take turns, of JPEG images that are decoded in workers, a small convnet and SGD, all
else the same: batches of torch's RandomSampler and BatchSampler, and of LossBatchSampler with the
rules random and focused, which is told the losses. It prints milliseconds a step, and the ratio to
torch's in the same turn: median and quartiles.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from benchmarks.shared.side_by_side import Advance, take_turns
from crest import Indexed, LossBatchSampler
from crest.models.convnet import ConvNet

SIZE, WARM_UP = 128, 2  # examples of a batch; turns that do not count
TORCH = "RandomSampler"


class Decoded(Dataset[tuple[Tensor, int]]):
    """Digits as JPEG of 32×32, decoded when they are asked for."""

    def __init__(self, copies: int) -> None:
        digits = load_digits()
        self._files = [_jpeg(image) for image in digits.images] * copies
        self._labels = digits.target.tolist() * copies

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = np.asarray(Image.open(io.BytesIO(self._files[index])), dtype=np.float32)
        return torch.from_numpy(image).permute(2, 0, 1) / 255, self._labels[index]


def _jpeg(image: np.ndarray[Any, Any]) -> bytes:
    grey = Image.fromarray((image * 15.9).astype(np.uint8)).resize((32, 32)).convert("RGB")
    file = io.BytesIO()
    grey.save(file, "JPEG", quality=90)
    return file.getvalue()


def batches(kind: str, count: int, steps: int) -> Any:
    """Return a batch sampler: torch's, or ours by a rule."""
    if kind == TORCH:
        sampler = RandomSampler(range(count), num_samples=steps * SIZE)
        return BatchSampler(sampler, SIZE, drop_last=True)
    return LossBatchSampler(count, SIZE, steps, rule=kind)


def trained(kind: str, data: Dataset[Any], steps: int, workers: int, advance: Advance) -> None:
    """Train, and say so after each step."""
    sampler = batches(kind, len(data), steps)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = ConvNet(10, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loader: Iterator[Sequence[Tensor]] = iter(
        DataLoader(data, batch_sampler=sampler, num_workers=workers)
    )
    for step, (indices, images, labels) in enumerate(loader, 1):
        losses = F.cross_entropy(model(images), labels, reduction="none")
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        if kind != TORCH:
            sampler.update(indices, losses)
        advance(step)


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--block", type=int, default=20, help="steps of a turn")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = Indexed(Decoded(copies=8))
    steps = (arguments.rounds + WARM_UP) * arguments.block
    kinds: dict[str, Callable[[Advance], None]] = {
        kind: partial(trained, kind, data, steps, arguments.workers)
        for kind in (TORCH, "random", "focused")
    }
    runs = take_turns(kinds, arguments.block)
    reference = runs[TORCH].turns[WARM_UP : WARM_UP + arguments.rounds]
    print("| batches of | ms a step | ratio | quartiles |\n|---|---|---|---|")
    for name, run in runs.items():
        turns = run.turns[WARM_UP : WARM_UP + arguments.rounds]
        ratios = [ours / theirs for ours, theirs in zip(turns, reference, strict=True)]
        low, _, high = quantiles(ratios)
        milliseconds = median(turns) / arguments.block * 1000
        print(f"| {name} | {milliseconds:.1f} | {median(ratios):.3f} | {low:.3f}–{high:.3f} |")


if __name__ == "__main__":
    main()
