"""The handwritten digits bundled with scikit-learn: 1,797 images of 8×8 pixels, no download."""

import numpy as np
from numpy.typing import NDArray

from crest.data.arrays import ArrayReader
from crest.data.sources import LAYOUT_KEYS, DatasetSpec, Labels, Reader, Source, refuse
from crest.errors import needs_extra
from crest.parameters.sections import PrepareParameters

HIGHEST = 16  # value of the darkest pixel
TEST_EVERY = 5  # every fifth image of a class is a test image


def choose_test(labels: Labels) -> NDArray[np.bool_]:
    """Choose the test rows: every fifth of each class, so that the split never changes."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return chosen


def open_digits(params: PrepareParameters) -> Source[Reader]:
    """Read the digits, 0 to 16 scaled to 0 to 255, one channel."""
    reason = "the digits are bundled and have one layout"
    refuse(params, reason, *LAYOUT_KEYS)
    with needs_extra("images"):
        from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / HIGHEST)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    test = choose_test(labels)
    return Source(
        train=ArrayReader("digits, train", images[~test], labels[~test]),
        test=ArrayReader("digits, test", images[test], labels[test]),
    )


DIGITS = DatasetSpec(open=open_digits, classes=10)
