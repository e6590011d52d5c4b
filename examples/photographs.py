"""Photographs that stay JPEG, decoded and cropped by the worker processes of a DataLoader.

pip install "crest-coresets[jpeg]"
python examples/photographs.py --workers 2
python examples/photographs.py --source FOLDER    # of one folder a class
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import crest
from crest.data.augment import Augmentation
from crest.data.build import build
from crest.data.datasets import open_source
from crest.data.encoded import EncodedSplit
from crest.data.prepared import load
from crest.parameters.sections import PrepareParameters

SIDE, BATCH = 64, 32
VIEWS = Augmentation(flip=True, scale=(0.08, 1.0))  # random resized crops and flips


def write_photographs(folder: Path) -> None:
    """Cut photographs of two classes out of those that scikit-learn ships."""
    for name, whole in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(100):
            left, upper = 4 * number, 2 * number
            part = Image.fromarray(whole).crop((left, upper, left + 200, upper + 150))
            part.save(folder / name / f"{number}.jpg")


class Crops(Dataset):
    """Crops of a mini-batch, uint8, made in whichever process asks for them."""

    def __init__(self, split: EncodedSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, examples: list) -> tuple[Tensor, Tensor, Tensor]:
        indices, draws = (torch.tensor(column) for column in zip(*examples, strict=True))
        return indices, draws, self.split.pixels(indices, draws)


def drawn(sampler, split: EncodedSplit) -> Iterator[list]:
    """Draw the views of each mini-batch here, so that they do not depend on the workers."""
    generator = torch.Generator().manual_seed(0)
    for indices in sampler:
        draws = split.draw_views(len(indices), generator)
        yield [*zip(indices, draws.tolist(), strict=True)]


def as_it_is(batch: tuple) -> tuple:
    """Keep the mini-batch that is one already."""
    return batch


def prepared(source: Path, folder: Path) -> EncodedSplit:
    """Copy the files of the images into one, as `cli.py prepare` does, and open it."""
    folder.mkdir()
    parameters = PrepareParameters(
        dataset="folder", source=str(source), image_size=SIDE, storage="encoded"
    )
    build(open_source(parameters), parameters, folder, lambda done: None)
    return load(folder, torch.device("cpu"), VIEWS).train


def train(split: EncodedSplit, steps: int, workers: int) -> None:
    """Train a small network, and print how it goes."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(256, int(split.labels.max()) + 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    sampler = crest.LossBatchSampler(len(split), BATCH, steps)
    loader = DataLoader(
        Crops(split),
        batch_sampler=drawn(sampler, split),
        num_workers=workers,
        collate_fn=as_it_is,
    )
    for step, (indices, draws, pixels) in enumerate(loader, 1):
        logits = model(split.finish(pixels, draws))  # flips, and normalises, where the model is
        losses = F.cross_entropy(logits, split.labels[indices], reduction="none")
        optimizer.zero_grad()
        sampler.mean(losses).backward()
        optimizer.step()
        sampler.update(indices, losses.detach())
        if step % (steps // 3) == 0:
            print(f"step {step}: loss {losses.mean():.4f}")


def main() -> None:
    """Prepare, and train."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, help="photographs of your own")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source = arguments.source or Path(name, "photographs")
        if arguments.source is None:
            write_photographs(source)
        split = prepared(source, Path(name, "prepared"))
        print(f"{len(split)} photographs to train on")
        train(split, arguments.steps, arguments.workers)


if __name__ == "__main__":
    main()
