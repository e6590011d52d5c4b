"""Features of images, against one filter, image and cell at a time."""

import pytest
import torch
from torch.nn import functional as F

from crest.label_noise.patches import CONTRAST, GRID, THRESHOLD, Patches


def plain(patches: Patches, image: torch.Tensor) -> torch.Tensor:
    """Return the features of an image, C×H×W, from all of its patches."""
    image, size, stride = image / patches.deviation, patches.filters.shape[-1], patches.stride
    found = image.unfold(1, size, stride).unfold(2, size, stride)  # C×h×w×P×P
    contrast = (found.var((0, 3, 4), correction=0) + CONTRAST).rsqrt()
    responses = torch.einsum("chwpq,fcpq->fhw", found, patches.filters) * contrast
    both = torch.cat([(sign * responses - THRESHOLD).clamp(min=0) for sign in (1, -1)])
    return F.adaptive_avg_pool2d(both, GRID).flatten()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 11)])
def test_features_are_those_of_every_patch(shape, layout):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(70, *shape, generator=generator).to(memory_format=layout)
    patches = Patches.of(images, generator, filters=4)
    expected = torch.stack([plain(patches, image) for image in images[[0, 69]]])
    torch.testing.assert_close(patches.features(images)[[0, 69]], expected, rtol=1e-4, atol=1e-5)
