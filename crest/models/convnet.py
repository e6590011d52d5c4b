"""A small convolutional network for small images, such as 8 x 8 digits."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (32, 32, 64)
STRIDES = (1, 2, 1)


class ConvNet(nn.Module):
    """Three times 3 x 3 convolution, BatchNorm and ReLU, then average pooling and a linear layer.

    Takes images of shape (B, C, H, W), any size and number of channels, to logits (B, classes).
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        ins = (channels, *WIDTHS[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=stride, padding=1, bias=False)
            for i, o, stride in zip(ins, WIDTHS, STRIDES, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in WIDTHS)
        self.linear = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, of shape (B, classes)."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            images = F.relu(norm(convolution(images)))
        return self.linear(images.mean(dim=(2, 3)))


def convnet(classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
    """Return the small network; it has one stem, so ``stem`` is not read."""
    return ConvNet(classes, image_shape[2])
