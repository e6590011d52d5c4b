import math

import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from crest.data.augment import Augmentation
from crest.data.views.boxes import COLUMNS, TRIES, draw_boxes
from crest.data.views.crops import crop_boxes
from crest.data.views.uniform import RANGE

IMAGENET = Augmentation(scale=(0.08, 1.0))
# Heights and widths; of the last two many boxes, or all, do not fit.
SIZES = [(224, 224), (375, 500), (7, 5), (1, 1), (90, 640), (300, 20)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def boxes_of(draws, height, width, augmentation=IMAGENET):
    heights, widths = torch.full((len(draws),), height), torch.full((len(draws),), width)
    return crop_boxes(draws, heights, widths, augmentation)


def one_box(row, height, width, scale):
    """What torchvision's make_params does, with numbers that are drawn beforehand."""
    numbers = [value / RANGE for value in row]
    lowest, highest = math.log(3 / 4), math.log(4 / 3)
    for area_at, ratio_at in zip(numbers[0:20:2], numbers[1:20:2], strict=True):
        area = (scale[0] + (scale[1] - scale[0]) * area_at) * (height * width)
        ratio = math.exp(lowest + (highest - lowest) * ratio_at)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(numbers[20] * (height - h + 1)), int(numbers[21] * (width - w + 1))
            return [top, left, h, w]
    if width / height < 3 / 4:
        w, h = width, round(width / (3 / 4))
    elif width / height > 4 / 3:
        h, w = height, round(height * (4 / 3))
    else:
        w, h = width, height
    return [(height - h) // 2, (width - w) // 2, h, w]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_boxes_are_those_of_ten_tries_one_after_another(height, width):
    draws = draw_boxes(400, generator())
    expected = [one_box(row, height, width, IMAGENET.scale) for row in draws.tolist()]
    assert boxes_of(draws, height, width).tolist() == expected


def test_a_batch_may_have_images_of_many_sizes():
    draws = draw_boxes(len(SIZES), generator())
    heights, widths = torch.tensor(SIZES).T
    expected = [
        boxes_of(row[None], height, width)[0]
        for row, (height, width) in zip(draws, SIZES, strict=True)
    ]
    assert torch.equal(crop_boxes(draws, heights, widths, IMAGENET), torch.stack(expected))


def two_sample_distance(first, second):
    """Kolmogorov's and Smirnov's greatest difference between two distributions."""
    values = torch.cat([first, second]).sort().values
    shares = [
        torch.searchsorted(some.sort().values, values, right=True).double() / len(some)
        for some in (first, second)
    ]
    return float((shares[0] - shares[1]).abs().max())


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(375, 500, (0.08, 1.0)), (60, 200, (0.08, 1.0)), (32, 32, (0.3, 0.6))],
)
def test_areas_ratios_and_places_are_distributed_as_torchvisions(height, width, scale):
    count = 5000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.empty(1, height, width)
        theirs = torch.tensor(
            [RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]) for _ in range(count)]
        )
    ours = boxes_of(draw_boxes(count, generator()), height, width, Augmentation(scale=scale))
    for statistic in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
    ):
        # Above this lie one in a thousand pairs of samples of one distribution.
        assert two_sample_distance(statistic(ours), statistic(theirs)) < 1.95 * (2 / count) ** 0.5


def test_where_no_try_fits_the_box_is_torchvisions_central_one():
    draws = torch.full((1, COLUMNS), RANGE - 1)
    draws[:, 0 : 2 * TRIES : 2] = RANGE - 1  # all of the area at a ratio of 4/3
    assert boxes_of(draws, 300, 20).tolist() == [[136, 0, 27, 20]]
    assert boxes_of(draws, 90, 640).tolist() == [[0, 260, 90, 120]]
    assert boxes_of(draws, 100, 100).tolist() == [[0, 0, 100, 100]]


def test_the_same_draws_are_the_same_part_of_an_image_of_any_size():
    draws, half = draw_boxes(50, generator()), Augmentation(scale=(0.08, 0.5))  # the first try fits
    small, large = boxes_of(draws, 100, 100, half), boxes_of(draws, 1000, 1000, half)
    assert (small * 10 - large).abs().max() <= 20  # two pixels of the small one
