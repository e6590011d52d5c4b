import pytest
import torch
from torchvision.transforms.v2 import ColorJitter

from crest.data.augment import Augmentation
from crest.data.views.jitter import draw_jitter, factors_of, jitter, orders_of


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count, channels=3):
    return torch.randint(256, (count, 9, 11, channels), generator=generator(1)).to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("color", "hue"), [(0.4, 0.1), (0.4, 0.0), (0.0, 0.5), (1.5, 0.0)])
def test_colours_change_as_torchvisions_given_the_same_factors_and_order(color, hue, channels):
    augmentation = Augmentation(color=color, hue=hue)
    images, draws = random_images(60, channels), draw_jitter(60, generator())
    names = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")
    expected = []
    for image, factors, order in zip(
        images, factors_of(draws, augmentation).tolist(), orders_of(draws), strict=True
    ):
        given = dict(zip(names, factors, strict=True))
        given = {name: factor if (hue if "hue" in name else color) else None
                 for name, factor in given.items()}  # fmt: skip
        changed = ColorJitter().transform(image.permute(2, 0, 1), {"fn_idx": order, **given})
        expected.append(changed.permute(1, 2, 0))
    assert torch.equal(jitter(images, draws, augmentation), torch.stack(expected))


def test_factors_and_orders_are_drawn_from_torchvisions_ranges():
    draws = draw_jitter(20_000, generator())
    theirs = ColorJitter(1.5, 1.5, 1.5, 0.1)
    ranges = (theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue)
    factors = factors_of(draws, Augmentation(color=1.5, hue=0.1))
    for column, (low, high) in zip(factors.T, ranges, strict=True):
        assert low <= column.min() < low + 0.01
        assert high - 0.01 < column.max() <= high
        assert column.mean() == pytest.approx((low + high) / 2, abs=0.02)
    orders, counts = orders_of(draws).unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert torch.allclose(counts / len(draws), torch.full((24,), 1 / 24), atol=0.01)
