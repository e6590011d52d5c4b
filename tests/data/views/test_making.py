from dataclasses import replace

import pytest
import torch
from torchvision.transforms.v2 import functional

from crest.data.augment import Augmentation, crop_and_flip, draw_crops_and_flips, normalise
from crest.data.views.crops import crop_boxes
from crest.data.views.erasing import erase
from crest.data.views.jitter import jitter
from crest.data.views.making import crop_draws, draw_views, finish_views, make_views
from crest.data.views.policies import operate, policy_of

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.25])
ALL = Augmentation(
    flip=True, scale=(0.2, 0.9), policy="randaugment", color=0.4, hue=0.1, erasing=0.5
)
EACH = [
    Augmentation(crop=2),
    Augmentation(flip="alternating"),
    Augmentation(scale=(0.08, 1.0)),
    Augmentation(policy="trivialaugment"),
    Augmentation(policy="randaugment", policy_operations=3, policy_magnitude=20),
    Augmentation(color=0.4),
    Augmentation(hue=0.1),
    Augmentation(erasing=0.5),
    ALL,
    replace(ALL, scale=None, crop=3, policy="trivialaugment"),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count=12, height=12, width=10):
    return torch.randint(256, (count, height, width, 3), generator=generator(1)).to(torch.uint8)


def test_views_of_crops_and_flips_alone_are_drawn_and_made_as_ever():
    images, augmentation = random_images(), Augmentation(2, True)
    draws = draw_views(12, augmentation, generator())
    assert torch.equal(draws, draw_crops_and_flips(12, augmentation, generator()))
    expected = normalise(crop_and_flip(images, augmentation, draws), MEAN, STD)
    assert torch.equal(make_views(images, draws, augmentation, MEAN, STD), expected)


@pytest.mark.parametrize("augmentation", EACH)
def test_the_same_draws_make_the_same_views_in_any_company(augmentation):
    images = random_images()
    before = images.clone()
    draws = draw_views(len(images), augmentation, generator())
    views = make_views(images, draws, augmentation, MEAN, STD)
    assert torch.equal(views, make_views(images, draws, augmentation, MEAN, STD))
    some = torch.tensor([7, 2, 2, 9])
    assert torch.equal(make_views(images[some], draws[some], augmentation, MEAN, STD), views[some])
    assert not torch.equal(views, normalise(images, MEAN, STD))
    assert views.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_views_are_made_in_their_order_each_by_its_own_columns():
    images = random_images()
    draws = draw_views(len(images), ALL, generator())
    place, crop, operations, colors, erasing = draws.split([3, 22, 6, 5, 23], 1)
    assert torch.equal(crop, crop_draws(draws, ALL))
    sizes = torch.full((12,), 12), torch.full((12,), 10)
    cropped = torch.stack(
        [
            functional.resized_crop(image.permute(2, 0, 1), *box, [12, 10]).permute(1, 2, 0)
            for image, box in zip(images, crop_boxes(crop, *sizes, ALL).tolist(), strict=True)
        ]
    )
    changed = torch.where(place[:, :1, None, None].bool(), cropped.flip(2), cropped)
    changed = jitter(operate(changed, operations, policy_of(ALL)), colors, ALL)
    expected = erase(normalise(changed, MEAN, STD), erasing, 0.5)
    assert torch.equal(make_views(images, draws, ALL, MEAN, STD), expected)
    assert torch.equal(finish_views(cropped, draws, ALL, MEAN, STD), expected)


def test_nothing_is_drawn_where_nothing_is_asked_for():
    drawn = generator()
    assert draw_views(5, Augmentation(), drawn).shape == (5, 0)
    assert torch.equal(drawn.get_state(), generator().get_state())
