"""CREST with a DataLoader: workers decode mini-batches that were chosen some steps ahead.

    python examples/dataloader_coresets.py
    python examples/dataloader_coresets.py --part 16    # gradients accumulated over four parts

The mini-batches are the same for any number of workers that the lag covers.
"""

import argparse

import torch
from plain_pytorch import accuracy, convnet, digits
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from crest import Coresets, Weighted, economical

SIZE = 64  # examples of an optimiser step
WORKERS, PREFETCH = 2, 2  # processes, and batches that each has ready


def main() -> None:
    """Train, and say how well it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--part", type=int, default=SIZE, help="examples of a forward pass")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    images, labels, test_images, test_labels = digits()
    model = convnet(16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    coresets = Coresets(
        model,
        lambda indices: images[indices],
        labels,
        steps=arguments.steps,
        batch_size=SIZE,
        lag=WORKERS * PREFETCH + 1,
        **economical(SIZE),
    )
    loader = DataLoader(
        Weighted(TensorDataset(images, labels)),  # or whatever opens files, decodes and augments
        batch_sampler=coresets.batch_sampler(),
        num_workers=WORKERS,
        prefetch_factor=PREFETCH,
    )
    for batch in loader:
        optimizer.zero_grad()
        logits_of_parts = []
        for part in zip(*(column.split(arguments.part) for column in batch), strict=True):
            part_images, part_labels, weights = part
            logits = model(part_images)
            losses = F.cross_entropy(logits, part_labels, reduction="none")
            ((losses * weights).sum() / SIZE).backward()
            logits_of_parts.append(logits.detach())
        optimizer.step()
        coresets.step(torch.cat(logits_of_parts))
    print(f"accuracy: {accuracy(model, test_images, test_labels):.4f}")


if __name__ == "__main__":
    main()
