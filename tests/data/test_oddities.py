import numpy as np
import pytest

from crest.data.build import Histogram
from crest.data.labels import encode_labels
from crest.data.oddities import Oddities
from crest.data.sources import Source
from crest.data.splits import divide
from crest.parameters.sections import PrepareParameters

DIFFERENT = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)


def notes(reader, train, test, labels=None, blocks=5, **params):
    """The notes on images of three classes in turn."""
    source = Source(
        *(
            None
            if images is None
            else reader(np.arange(len(images)) % 3 if name == "test" or labels is None else labels,
                        images, name=name)
            for name, images in (("train", train), ("test", test))
        )
    )  # fmt: skip
    oddities = Oddities()
    for name, split in source.splits.items():
        for start in range(0, len(split), blocks):
            block = split.images[start : start + blocks]
            oddities.see(name, split, start, list(block), block)
    encoded = encode_labels(source)
    division = divide(encoded, PrepareParameters(validation=0.0, **params))
    histogram = Histogram(train.shape[-1])
    histogram.add(train)
    return [*oddities.notes(source, encoded, division, histogram.statistics()[1])]


def test_nothing_is_said_of_usual_images(reader):
    assert notes(reader, DIFFERENT[:9], DIFFERENT[9:]) == []


def test_images_that_are_all_the_same_are_warned_of(reader):
    black = np.zeros_like(DIFFERENT)
    noted = notes(reader, black[:9], black[9:])
    assert noted[0].startswith("warning: all images are the same, pixel for pixel")


def test_images_of_one_colour_are_counted(reader):
    images = DIFFERENT.copy()
    images[4] = 7
    images[7] = [1, 2, 3]
    images[2, :, :, :] = 7
    images[2, 1, 3] = 8  # one pixel differs where no corner is
    assert notes(reader, images[:9], images[9:]) == [
        "warning: 2 images are of one colour throughout (first: train, row 4 (counted from 0))"
    ]


def test_images_of_a_single_pixel_are_of_one_colour_by_nature(reader):
    single = DIFFERENT[:, :1, :1]
    assert notes(reader, single[:9], single[9:]) == []


def test_a_channel_of_one_value_is_warned_of(reader):
    images = DIFFERENT.copy()
    images[:9, :, :, 1] = 0
    assert notes(reader, images[:9], images[9:]) == [
        "warning: channel 1 (counted from 0) has one value in all of train"
    ]


def test_test_images_that_lie_in_train_are_counted(reader):
    test = np.concatenate([DIFFERENT[9:], DIFFERENT[3:5], DIFFERENT[:1]])
    assert notes(reader, DIFFERENT[:9], test) == [
        "warning: 3 images of test lie in train too, byte for byte (first: test, row 3 (counted "
        "from 0))"
    ]


def test_a_test_share_of_train_is_compared_with_what_is_left(reader):
    twice = np.repeat(DIFFERENT[:2], 6, axis=0)
    [noted] = notes(reader, twice, None, labels=np.repeat([0, 1], 6), test_share=0.5)
    assert noted.startswith("warning: 6 images of test lie in train too, byte for byte (first: tr")


def test_one_image_with_two_labels_is_told(reader):
    images = np.concatenate([DIFFERENT[:6], DIFFERENT[1:3], DIFFERENT[3:4]])
    labels = [0, 1, 2, 0, 1, 2, 1, 0, 1]  # row 6 agrees with row 1; 7 and 8 do not with 2 and 3
    assert notes(reader, images, DIFFERENT[9:], labels) == [
        "warning: 4 images of train lie there several times with different labels (first: train, "
        "row 2 (counted from 0))"
    ]


@pytest.mark.parametrize("blocks", [1, 3, 100])
def test_what_is_said_does_not_depend_on_the_blocks(reader, blocks):
    images = DIFFERENT.copy()
    images[5] = 7
    assert notes(reader, images[:9], images[3:6], blocks=blocks) == [
        "warning: 2 images are of one colour throughout (first: train, row 5 (counted from 0))",
        "warning: 3 images of test lie in train too, byte for byte (first: test, row 0 (counted "
        "from 0))",
    ]
