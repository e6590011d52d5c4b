import numpy as np


def test_batches_cover_all_rows_in_order(reader):
    images = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1)
    split = reader(range(7), images, batch=3)
    batches = list(split.examples())
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert np.array_equal(np.concatenate([np.stack(batch) for batch in batches]), images)
    assert split.labels().to_list() == list(range(7))


def test_rows_are_named(reader):
    split = reader([0, 1], name="digits, test")
    assert split.example_at(1) == split.label_at(1) == "digits, test, row 1 (counted from 0)"
