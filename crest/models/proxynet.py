"""A very small convolutional network, to score examples for a larger one."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64)
LEAST_SIDE = 16  # pixels, below which an image is not shrunk first


class ProxyNet(nn.Module):
    """Average pooling, then three times 3 x 3 convolution, BatchNorm and ReLU, the last two halved.

    Takes images of shape (B, C, H, W), any size and number of channels, to logits (B, classes).
    Images of 16 pixels a side and more are shrunk to half their size first, so that one of
    32 x 32 costs 2.3 million multiplications.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        ins = (channels, *WIDTHS[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=1 + (place > 0), padding=1, bias=False)
            for place, (i, o) in enumerate(zip(ins, WIDTHS, strict=True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in WIDTHS)
        self.linear = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, of shape (B, classes)."""
        if min(images.shape[-2:]) >= LEAST_SIDE:
            images = F.avg_pool2d(images, 2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            images = F.relu(norm(convolution(images)))
        return self.linear(images.mean(dim=(2, 3)))


def proxynet(classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
    """Return the network; it has one stem, so ``stem`` is not read."""
    return ProxyNet(classes, image_shape[2])
