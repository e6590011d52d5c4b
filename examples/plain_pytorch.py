"""CREST in a plain PyTorch loop: a small network on the bundled digits, a few seconds on one core.

    pip install scikit-learn    # the digits come with it
    python examples/plain_pytorch.py
    python examples/plain_pytorch.py --method random    # the baseline: one word changes
    python examples/plain_pytorch.py --save artifacts/own_loop

dataloader_saved_coresets.py trains a larger network on what was saved.
"""

import argparse
import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest import Coresets, CrestError

try:
    from sklearn.datasets import load_digits
except ModuleNotFoundError:
    sys.exit("error: the digits come with scikit-learn: pip install scikit-learn")


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images and labels to train on and, of every fifth digit, to test on."""
    bundled = load_digits()
    images = torch.tensor(bundled.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(bundled.target)
    test = torch.arange(len(labels)) % 5 == 0
    return images[~test], labels[~test], images[test], labels[test]


def convnet(width: int) -> nn.Module:
    """Return two convolutions and the linear layer that gives the logits."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
        *(
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        ),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8 * width, 10)),
    )


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that a model classifies right."""
    with torch.inference_mode():
        return float((model.eval()(images).argmax(1) == labels).double().mean())


def main() -> None:
    """Train, say how well it went, and keep what was chosen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", default="crest", help="crest or random")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--save", metavar="FOLDER", help="where to keep what was chosen")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    images, labels, test_images, test_labels = digits()
    model = convnet(16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=arguments.steps)

    coresets = Coresets(
        model,
        lambda indices: images[indices],
        labels,
        steps=arguments.steps,
        batch_size=32,
        method=arguments.method,
        # By the method's name, so that another method may be chosen: of crest, a mini-batch stands
        # for so many examples; the default is 1% of them.
        crest={"subset_size": 128, "threshold": 0.2},
    )
    for indices, weights in coresets:
        losses = F.cross_entropy(model(images[indices]), labels[indices], reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
        schedule.step()
        coresets.step()

    print(f"accuracy: {accuracy(model, test_images, test_labels):.4f}")
    if arguments.save:
        try:
            coresets.save(arguments.save)
        except CrestError as error:  # random, for one, keeps none
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
