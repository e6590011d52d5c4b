import pytest
import torch
from torchvision.transforms.v2 import RandomErasing

from crest.data.views.erasing import draw_erasing, erase, erased_boxes
from tests.data.views.test_crops import two_sample_distance


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_rectangles_are_distributed_as_torchvisions():
    count, size = 5000, (24, 36)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transform, image = RandomErasing(p=1.0), torch.empty(1, *size)
        found = [transform.make_params([image]) for _ in range(count)]
    theirs = torch.tensor(
        [[each[key] for key in "ijhw"] for each in found if each["v"] is not None]
    )
    ours = erased_boxes(draw_erasing(count, generator()), *size, 1.0)
    ours = ours[ours[:, 2] > 0]
    assert len(ours) / count == pytest.approx(len(theirs) / count, abs=0.01)
    for statistic in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
    ):
        assert two_sample_distance(statistic(ours), statistic(theirs)) < 1.95 * (2 / count) ** 0.5


def test_a_rectangle_of_some_views_is_the_mean_and_all_else_stays():
    draws, views = draw_erasing(400, generator()), torch.ones(400, 3, 12, 10)
    boxes = erased_boxes(draws, 12, 10, 0.25)
    erased = erase(views.clone(), draws, 0.25)
    assert (boxes[:, 2] > 0).double().mean() == pytest.approx(0.25, abs=0.05)
    for view, (top, left, rows, columns) in zip(erased, boxes.tolist(), strict=True):
        expected = torch.ones(3, 12, 10)
        expected[:, top : top + rows, left : left + columns] = 0.0
        assert torch.equal(view, expected)


def test_a_view_of_a_pixel_is_not_erased():
    assert not erased_boxes(draw_erasing(50, generator()), 1, 1, 1.0).any()
