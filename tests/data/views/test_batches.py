import copy
import pickle

import pytest
import torch

from crest.data.augment import Augmentation
from crest.data.views import batches
from crest.data.views.batches import ViewBatches
from crest.data.views.making import draw_views, finish_views, make_views

ALL = Augmentation(flip=True, scale=(0.08, 1.0), color=0.4, erasing=0.9)
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.1])


@pytest.fixture
def threads(monkeypatch):
    """Three threads for images of any size."""
    before = torch.get_num_threads()
    monkeypatch.setattr(batches, "LARGE", 0)
    monkeypatch.setattr(batches, "usable_cores", lambda: 3)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def images_and_draws(count, channels=3):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 12, 10, channels), generator=generator)
    return images.to(torch.uint8), draw_views(count, ALL, generator)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("make", [make_views, finish_views])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_parts_make_the_views_of_the_whole(make, count):
    images, draws = images_and_draws(count)
    made = ViewBatches((12, 10, 3))
    for _ in range(2):
        found = made.make(make, images.__getitem__, draws, ALL, MEAN, STD)
        assert torch.equal(found, make(images, draws, ALL, MEAN, STD))
        assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("threads")
def test_one_channel_is_repeated_and_views_are_made_in_inference_mode():
    images, draws = images_and_draws(5, channels=1)
    expected = make_views(images, draws, ALL, MEAN, STD)
    made = ViewBatches((12, 10, 1))
    for inference in (True, False):
        with torch.inference_mode(inference):
            found = made.make(make_views, images.__getitem__, draws, ALL, MEAN, STD)
        assert torch.equal(found, expected)


@pytest.mark.usefixtures("threads")
def test_what_a_part_raises_is_raised():
    def fail(*arguments):
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        images, draws = images_and_draws(5)
        ViewBatches((12, 10, 3)).make(fail, images.__getitem__, draws, ALL, MEAN, STD)


@pytest.mark.usefixtures("threads")
def test_batches_that_are_held_stay_and_copies_have_their_own():
    images, draws = images_and_draws(5)
    made = ViewBatches((12, 10, 3))
    first = made.make(make_views, images.__getitem__, draws, ALL, MEAN, STD)
    kept = first.clone()
    for other in (made, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        other.make(make_views, images.flip(0).__getitem__, draws, ALL, MEAN, STD)
    assert torch.equal(first, kept)
