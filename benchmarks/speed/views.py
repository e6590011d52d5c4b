"""What a view of an image costs, ours beside torchvision's transforms of version 2.

    python -m benchmarks.speed.views --sizes 32 224 --out views.json

Views of one batch of made-up photographs that lie in memory as whole pixels, to normalised floats:
ours of the batch (draws included), torchvision's image by image, as a DataLoader's worker makes
them. On one thread, in turns; medians of processor microseconds an image, and of the ratio.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from benchmarks.shared.machine import describe
from crest.data.augment import Augmentation
from crest.data.views.making import draw_views, make_views

BATCH = {32: 128, 224: 32}
MEAN, STD = [0.45] * 3, [0.25] * 3
FLOATS = (v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD))

# Ours, and of a size torchvision's before and after normalisation.
Theirs = Callable[[int], tuple[list[v2.Transform], list[v2.Transform]]]
VIEWS: dict[str, tuple[Augmentation, Theirs]] = {
    "none": (Augmentation(), lambda size: ([], [])),
    "padded crop and flip": (
        Augmentation(4, True),
        lambda size: ([v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip()], []),
    ),
    "resized crop": (
        Augmentation(scale=(0.08, 1.0)),
        lambda size: ([v2.RandomResizedCrop(size, antialias=True)], []),
    ),
    "TrivialAugment": (
        Augmentation(policy="trivialaugment"),
        lambda size: ([v2.TrivialAugmentWide()], []),
    ),
    "RandAugment": (Augmentation(policy="randaugment"), lambda size: ([v2.RandAugment()], [])),
    "colour jitter 0.4": (
        Augmentation(color=0.4),
        lambda size: ([v2.ColorJitter(0.4, 0.4, 0.4)], []),
    ),
    "colour jitter 0.4, hue 0.1": (
        Augmentation(color=0.4, hue=0.1),
        lambda size: ([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], []),
    ),
    "erasing 0.5": (Augmentation(erasing=0.5), lambda size: ([], [v2.RandomErasing(0.5)])),
}


def photographs(count: int, size: int) -> Tensor:
    """Return parts of a photograph; uint8, count×size×size×3."""
    whole = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)
    generator = torch.Generator().manual_seed(0)
    images = []
    for _ in range(count):
        top, left = (int(torch.randint(150, (), generator=generator)) for _ in range(2))
        part = whole[:, top : top + 260, left : left + 260]
        images.append(functional.resize(part, [size, size]).permute(1, 2, 0))
    return torch.stack(images).contiguous()


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor seconds that work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224], choices=BATCH)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    found: dict[str, dict[str, float]] = {}
    print("| pixels | view | ours, µs | torchvision's, µs | times |\n|---|---|---|---|---|")
    for size in arguments.sizes:
        images = photographs(BATCH[size], size)
        apart = [image.permute(2, 0, 1).contiguous() for image in images]
        for name, (augmentation, theirs) in VIEWS.items():
            before, after = theirs(size)
            transform = v2.Compose([*before, *FLOATS, *after])
            generator = torch.Generator().manual_seed(0)
            torch.manual_seed(0)

            def ours(
                augmentation: Augmentation = augmentation,
                images: Tensor = images,
                generator: torch.Generator = generator,
            ) -> Tensor:
                draws = draw_views(len(images), augmentation, generator)
                return make_views(images, draws, augmentation, mean, std)

            def one_by_one(
                transform: v2.Compose = transform, apart: list[Tensor] = apart
            ) -> Tensor:
                return torch.stack([transform(image) for image in apart])

            turns = [(seconds_of(ours), seconds_of(one_by_one)) for _ in range(arguments.turns + 2)]
            mine, others = (
                statistics.median(column) / len(images) * 1e6
                for column in zip(*turns[2:], strict=True)
            )
            times = statistics.median(other / own for own, other in turns[2:])
            print(f"| {size} | {name} | {mine:.1f} | {others:.1f} | {times:.1f} |", flush=True)
            found[f"{size} {name}"] = {"ours": mine, "torchvision": others, "times": times}
    if arguments.out:
        arguments.out.write_text(json.dumps({"machine": describe(), "views": found}, indent=1))


if __name__ == "__main__":
    main()
