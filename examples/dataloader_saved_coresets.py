"""A DataLoader with workers on saved coresets: a larger network trains on what a small one chose.

    python examples/plain_pytorch.py --save artifacts/own_loop
    python examples/dataloader_saved_coresets.py artifacts/own_loop

Or on those of a run of the command line, whose indices are rows of the prepared data:

    python cli.py prepare && python cli.py train --method crest
    python examples/dataloader_saved_coresets.py artifacts/train/crest --prepared data/prepared
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from plain_pytorch import accuracy, convnet, digits
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from crest import CoresetBatchSampler, CrestError, Weighted, read_coresets


class Shifted(Dataset[tuple[Tensor, Tensor]]):
    """Images moved by up to a pixel, one after the other: what workers are for."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images = images
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image and its label."""
        row, column = torch.randint(3, (2,)).tolist()
        padded = F.pad(self._images[index], (1, 1, 1, 1))
        return padded[:, row : row + 8, column : column + 8], self._labels[index]


def prepared(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images and labels of data/prepared, to train and to test on."""
    arrays = []
    for split in ("train", "test"):
        images = torch.from_numpy(np.load(folder / f"{split}_images.npy"))
        arrays.append(images.permute(0, 3, 1, 2).float() / 255)
        arrays.append(torch.from_numpy(np.load(folder / f"{split}_labels.npy")))
    images, labels, test_images, test_labels = arrays
    return images, labels, test_images, test_labels


def main() -> None:
    """Train on saved coresets and say how well it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("coresets", help="a folder, or a coresets.parquet")
    parser.add_argument("--prepared", type=Path, help="data/prepared, for a run's coresets")
    parser.add_argument("--steps", type=int, help="default: as many as were taken")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    data = prepared(arguments.prepared) if arguments.prepared else digits()
    images, labels, test_images, test_labels = data
    try:
        saved = read_coresets(arguments.coresets, labels)
    except CrestError as error:
        sys.exit(f"error: {error}")
    loader = DataLoader(
        Weighted(Shifted(images, labels)),
        batch_sampler=CoresetBatchSampler(saved, arguments.steps),
        num_workers=arguments.workers,
    )
    model = convnet(32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for batch_images, batch_labels, weights in loader:
        losses = F.cross_entropy(model(batch_images), batch_labels, reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
    print(f"accuracy: {accuracy(model, test_images, test_labels):.4f}")


if __name__ == "__main__":
    main()
