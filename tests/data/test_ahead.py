import os
import threading

import pytest
import torch

from crest.data.ahead import Ahead


class Decoder:
    """Returns the number of a key, and counts how often each was asked for."""

    def __init__(self):
        self.calls = []
        self._lock = threading.Lock()

    def __call__(self, key):
        with self._lock:
            self.calls.append(key)
        if key == (-1,):
            raise ValueError("bad")
        return torch.tensor(key[0])


def keys(*numbers):
    return [(number,) for number in numbers]


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_taken_is_what_was_asked_for_and_made_once(workers):
    decode = Decoder()
    ahead = Ahead(decode, 3, workers)
    ahead.expect(keys(*range(10)))
    assert [int(image) for image in ahead.take(keys(0, 1))] == [0, 1]
    assert [int(image) for image in ahead.take(keys(5, 2, 5))] == [5, 2, 5]
    assert [int(image) for image in ahead.take(keys(3, 4, 6, 7, 8, 9))] == [3, 4, 6, 7, 8, 9]
    assert sorted(decode.calls) == sorted([*keys(*range(10)), (5,)])  # the second 5 is another


def test_no_more_than_so_many_wait_to_be_taken():
    begun = threading.Semaphore(0)
    made = []

    def decode(key):
        made.append(key)
        begun.release()
        return torch.tensor(key[0])

    ahead = Ahead(decode, 4, 1)
    ahead.expect(keys(*range(20)))
    for _ in range(4):
        begun.acquire()
    assert not begun.acquire(timeout=0.05)
    assert made == keys(0, 1, 2, 3)
    ahead.take(keys(0))
    begun.acquire()
    assert made[4:] == keys(4)


def test_what_is_expected_no_more_is_let_go():
    decode = Decoder()
    ahead = Ahead(decode, 2, 1)
    ahead.expect(keys(1, 2, 3))
    ahead.expect(keys(7, 8))
    assert [int(image) for image in ahead.take(keys(7, 8))] == [7, 8]
    assert (3,) not in decode.calls


def test_what_will_be_taken_again_is_made_once_until_it_is_let_go():
    decode = Decoder()
    ahead = Ahead(decode, 3, 1)
    ahead.keep(keys(1, 2, 3, 4))  # 4 is more than there is room for
    for _ in range(2):
        ahead.expect(keys(1, 2, 4))
        assert [int(image) for image in ahead.take(keys(1, 2, 4, 9))] == [1, 2, 4, 9]
    assert sorted(decode.calls) == keys(1, 2, 4, 4, 9, 9)
    ahead.keep(keys(2, 5))
    ahead.take(keys(1, 2))
    assert sorted(decode.calls) == keys(1, 1, 2, 4, 4, 9, 9)


def test_an_error_comes_when_its_image_is_taken():
    ahead = Ahead(Decoder(), 4, 1)
    ahead.expect(keys(1, -1))
    assert int(ahead.take(keys(1))[0]) == 1
    with pytest.raises(ValueError, match="bad"):
        ahead.take(keys(-1))
    assert int(ahead.take(keys(2))[0]) == 2


def test_a_forked_process_has_threads_of_its_own():
    ahead = Ahead(Decoder(), 4, 1)
    ahead.take(keys(1))
    child = os.fork()
    if not child:
        os._exit(int(ahead.take(keys(42))[0]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
