"""Features of images that need no training: responses to random patches of the images themselves.

One convolution whose filters are whitened patches, rectified with both signs and pooled over a
3×3 grid (Coates, Ng and Lee, *An Analysis of Single-Layer Networks in Unsupervised Feature
Learning*, AISTATS 2011, with random patches in place of k-means).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

FILTERS = 64
SIDE = 32  # larger images are averaged down to this side
PATCH = 6  # pixels of a patch's side; of images smaller than two of them, half their side
DRAWN = 10_000  # patches that the whitening is learned from
GRID = 3
AT_ONCE = 64  # images, whose responses stay in the processor's cache
CONTRAST = 0.1  # added to variances of patches, and to those of their components
THRESHOLD = 0.5


@dataclass(frozen=True)
class Patches:
    """Filters, float32 f×C×P×P, the stride with which they are moved, and the images' deviation."""

    filters: Tensor
    stride: int
    deviation: float

    @classmethod
    def of(cls, images: Tensor, generator: torch.Generator, filters: int = FILTERS) -> "Patches":
        """Draw filters from some images, float n×C×H×W; draws are of the CPU's generator."""
        images = smaller(images)
        deviation = float(images.double().std(correction=0)) or 1.0
        images = images / deviation
        count, channels, height, width = images.shape
        size = max(1, min(PATCH, height // 2, width // 2))
        rows, tops, lefts = (
            torch.randint(0, most, (DRAWN,), generator=generator).to(images.device)
            for most in (count, height - size + 1, width - size + 1)
        )
        along = torch.arange(size, device=images.device)
        patches = images[
            rows[:, None, None],
            :,
            (tops[:, None] + along)[:, :, None],
            (lefts[:, None] + along)[:, None, :],
        ]
        patches = patches.permute(0, 3, 1, 2).flatten(1).double()
        patches = patches - patches.mean(1, keepdim=True)
        patches = patches / (patches.var(1, keepdim=True, correction=0) + CONTRAST).sqrt()
        patches = patches - patches.mean(0)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        whitening = vectors * (values.clamp(min=0) + CONTRAST).rsqrt() @ vectors.T
        chosen = patches[torch.randperm(DRAWN, generator=generator)[:filters].to(patches.device)]
        chosen = F.normalize(chosen @ whitening) @ whitening
        chosen = chosen - chosen.mean(1, keepdim=True)  # what a patch's mean adds, it takes away
        stride = max(1, round(max(height, width) / 16))
        return cls(chosen.float().reshape(-1, channels, size, size), stride, deviation)

    def features(self, images: Tensor) -> Tensor:
        """Return the features of images, float k×C×H×W: float32 k×18f."""
        return torch.cat(
            [self._features(smaller(some) / self.deviation) for some in images.split(AT_ONCE)]
        )

    def _features(self, images: Tensor) -> Tensor:
        size = self.filters.shape[-1]
        planes = images.contiguous()
        mean, square = (
            F.avg_pool2d(of.mean(1, keepdim=True), size, self.stride) for of in (planes, planes**2)
        )
        contrast = ((square - mean**2).clamp(min=0) + CONTRAST).rsqrt()
        images = images.contiguous(memory_format=torch.channels_last)
        response = F.conv2d(images, self.filters, stride=self.stride) * contrast
        cells = _cells(*response.shape[-2:]).to(response)
        by_place = response.permute(0, 2, 3, 1).flatten(1, 2)  # filters last: a wide product
        pooled = [cells.T @ F.relu(sign * by_place - THRESHOLD) for sign in (1, -1)]
        return torch.cat(pooled, 2).transpose(1, 2).flatten(1)


def _cells(height: int, width: int) -> Tensor:
    """Return what takes the means over GRID×GRID cells by a product: (H·W)×GRID²."""
    across = [_means(side) for side in (height, width)]
    return torch.einsum("hg,wk->hwgk", *across).flatten(2).flatten(0, 1)


def _means(side: int) -> Tensor:
    """Return the weights with which the places of a side count in each of GRID cells."""
    edges = torch.arange(GRID + 1, dtype=torch.float32) * side / GRID
    starts, ends = edges[:-1].floor(), edges[1:].ceil()
    places = torch.arange(side)[:, None]
    inside = ((places >= starts) & (places < ends)).to(torch.float32)
    return inside / inside.sum(0)


def smaller(images: Tensor) -> Tensor:
    """Return images as float32 whose longer side is at most SIDE, averaged down to it."""
    images = images.float()
    height, width = images.shape[-2:]
    longer = max(height, width)
    if longer <= SIDE:
        return images
    size = [max(1, round(side * SIDE / longer)) for side in (height, width)]
    return F.interpolate(images, size=size, mode="area")
