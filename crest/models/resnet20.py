"""ResNet-20, the network that He et al. designed for CIFAR-10."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64)
BLOCKS = 3
GROUPS = 8

Norm = Callable[[int], nn.Module]  # from channels to their normalisation


class GroupNorm(nn.GroupNorm):
    """GroupNorm that is as fast in bf16 with channels last as it is with channels first."""

    def forward(self, images: Tensor) -> Tensor:
        """Return images of the same shape and memory format, (B, C, H, W)."""
        # On processors torch 2.14 takes many times as long for this as for its other layouts and
        # types (benchmarks/speed/group_norm.py).
        slow = images.device.type == "cpu" and images.dtype is torch.bfloat16
        if not slow or images.is_contiguous():
            return super().forward(images)
        normed = super().forward(images.contiguous())
        return normed.contiguous(memory_format=torch.channels_last)


def group_norm(channels: int) -> nn.Module:
    """Return GroupNorm with 8 groups, of 2, 4 or 8 channels here."""
    return GroupNorm(GROUPS, channels)


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without weights (option A of the paper)."""

    def __init__(self, ins: int, outs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (outs - ins) // 2
        self.conv1 = nn.Conv2d(ins, outs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = norm(outs)
        self.conv2 = nn.Conv2d(outs, outs, 3, padding=1, bias=False)
        self.norm2 = norm(outs)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, outs, H / stride, W / stride) of (B, ins, H, W)."""
        inner = F.relu(self.norm1(self.conv1(images)))
        inner = self.norm2(self.conv2(inner))
        return F.relu(inner + self._shortcut(images))

    def _shortcut(self, images: Tensor) -> Tensor:
        """Return every stride-th pixel, with channels of zeros on both sides."""
        if self.stride == 1:
            return images
        images = images[:, :, :: self.stride, :: self.stride]
        return F.pad(images, (0, 0, 0, 0, self.padding, self.padding))


class ResNet20(nn.Module):
    """Three stages of three blocks, 16, 32 and 64 wide: 0.27 million weights for 10 classes.

    Takes images of shape (B, C, H, W) to logits (B, classes).

    References
    ----------
    He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    def __init__(self, classes: int, channels: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.norm = norm(WIDTHS[0])
        self.blocks = nn.Sequential(*_blocks(norm))
        self.linear = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, of shape (B, classes)."""
        images = F.relu(self.norm(self.conv(images)))
        images = self.blocks(images)
        return self.linear(images.mean(dim=(2, 3)))


def _blocks(norm: Norm) -> list[Block]:
    """Return the nine blocks; the first of the second and third stage halves the image."""
    blocks = []
    width = WIDTHS[0]
    for outs in WIDTHS:
        for _ in range(BLOCKS):
            blocks.append(Block(width, outs, stride=1 if outs == width else 2, norm=norm))
            width = outs
    return blocks


def resnet20(classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
    """Return ResNet-20; it has one stem, so ``stem`` is not read."""
    return ResNet20(classes, image_shape[2])


def resnet20_gn(classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
    """Return ResNet-20 with GroupNorm for BatchNorm; it has one stem, so ``stem`` is not read.

    An example's gradient then depends on that example alone, in training as in eval mode.

    References
    ----------
    Wu and He, Group Normalization, ECCV 2018.
    """
    return ResNet20(classes, image_shape[2], group_norm)
