"""CREST with gradient accumulation: a mini-batch of 64 is one optimiser step, taken in parts of 16.

    python examples/gradient_accumulation.py
    python examples/gradient_accumulation.py --part 64    # the same, but for BatchNorm, in one

The parts' losses are divided by the whole, so that their gradients add up to the mini-batch's; the
step is reported once, with the logits of all parts.
"""

import argparse

import torch
from plain_pytorch import accuracy, convnet, digits
from torch.nn import functional as F

from crest import Coresets, economical

SIZE = 64  # examples of an optimiser step


def main() -> None:
    """Train, and say how well it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", type=int, default=16, help="examples of a forward pass")
    parser.add_argument("--steps", type=int, default=100)
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
        **economical(SIZE),
    )
    for indices, weights in coresets:
        optimizer.zero_grad()
        logits_of_parts = []
        parts = zip(indices.split(arguments.part), weights.split(arguments.part), strict=True)
        for part, part_weights in parts:
            logits = model(images[part])
            losses = F.cross_entropy(logits, labels[part], reduction="none")
            ((losses * part_weights).sum() / SIZE).backward()
            logits_of_parts.append(logits.detach())
        optimizer.step()
        coresets.step(torch.cat(logits_of_parts))
    print(f"accuracy: {accuracy(model, test_images, test_labels):.4f}")


if __name__ == "__main__":
    main()
