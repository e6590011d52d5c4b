"""ResNet-8: a small residual network that pools early, as those of speed records do.

After ResNet-9 of Page, *How to Train Your ResNet*, 2018, and the networks of airbench (Jordan,
2024), narrower: 19 million multiplications for an image of 32 x 32, where ResNet-20 has 41.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64, 96)


class Group(nn.Module):
    """A convolution, halved by max pooling, and one that is added to its input; all normalised."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(ins, outs, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outs)
        self.second = nn.Conv2d(outs, outs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outs)

    def forward(self, images: Tensor) -> Tensor:
        """Return maps of half the size."""
        pooled = F.max_pool2d(self.first(images), 2, ceil_mode=True)
        images = F.relu(self.first_norm(pooled))
        return images + F.relu(self.second_norm(self.second(images)))


class ResNet8(nn.Module):
    """A convolution, three groups of two, the highest of each map, and a linear layer.

    Takes images of shape (B, C, H, W), any size and number of channels, to logits (B, classes).
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        self.groups = nn.Sequential(*(Group(ins, outs) for ins, outs in pairwise(WIDTHS)))
        self.linear = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, of shape (B, classes)."""
        images = self.groups(F.relu(self.norm(self.stem(images))))
        return self.linear(images.amax(dim=(2, 3)))


def resnet8(classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
    """Return the network; it has one stem, so ``stem`` is not read."""
    return ResNet8(classes, image_shape[2])
