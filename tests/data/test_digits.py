import numpy as np
import pytest

from crest.data.datasets import open_source
from crest.data.digits import choose_test
from crest.data.sources import LAYOUT_KEYS
from crest.errors import ParameterError
from crest.parameters.sections import PrepareParameters


@pytest.fixture(scope="module")
def digits():
    return open_source(PrepareParameters())


def test_all_digits_are_there_in_two_splits(digits):
    assert len(digits.train) + len(digits.test) == 1797
    assert len(digits.test) == 355
    counts = np.bincount(digits.test.targets)
    assert counts.min() >= 34
    assert counts.max() <= 36


def test_values_span_a_byte(digits):
    images = digits.train.images
    assert images.shape[1:] == (8, 8, 1)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert len(np.unique(images)) == 17


def test_every_fifth_of_a_class_is_a_test_example():
    labels = np.array([0, 1] * 10)
    assert np.flatnonzero(choose_test(labels)).tolist() == [8, 9, 18, 19]


@pytest.mark.parametrize("key", LAYOUT_KEYS)
def test_parameters_that_would_be_ignored_are_refused(key):
    with pytest.raises(ParameterError, match=f"^prepare.{key}: "):
        open_source(PrepareParameters(**{key: 0.2 if key == "test_share" else "x"}))
