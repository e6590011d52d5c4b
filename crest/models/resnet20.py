"""ResNet-20, the network that He et al. designed for CIFAR-10."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64)
BLOCKS = 3


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without weights (option A of the paper)."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (outs - ins) // 2
        self.conv1 = nn.Conv2d(ins, outs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outs)
        self.conv2 = nn.Conv2d(outs, outs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outs)

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

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        self.blocks = nn.Sequential(*_blocks())
        self.linear = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, of shape (B, classes)."""
        images = F.relu(self.norm(self.conv(images)))
        images = self.blocks(images)
        return self.linear(images.mean(dim=(2, 3)))


def _blocks() -> list[Block]:
    """Return the nine blocks; the first of the second and third stage halves the image."""
    blocks = []
    width = WIDTHS[0]
    for outs in WIDTHS:
        for _ in range(BLOCKS):
            blocks.append(Block(width, outs, stride=1 if outs == width else 2))
            width = outs
    return blocks


def resnet20(classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
    """Return ResNet-20; it has one stem, so ``stem`` is not read."""
    return ResNet20(classes, image_shape[2])
