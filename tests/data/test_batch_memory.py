import copy
import pickle

import torch

from crest.data.batch_memory import MOST_BYTES, BatchMemory


def place(tensor):
    return tensor.untyped_storage().data_ptr()


def test_memory_is_used_again_when_nobody_holds_it():
    memory = BatchMemory()
    first = memory.empty(3, 4)
    there = place(first)
    assert first.shape == (3, 4)
    assert first.dtype == torch.float32
    del first
    assert place(memory.empty(2, 5)) == there  # a smaller one


def test_what_is_held_is_never_given_again():
    memory = BatchMemory()
    held = [memory.empty(4).fill_(number) for number in range(5)]
    views = [held.pop()[1:], held.pop().view(2, 2).T, held.pop().detach()]
    held += [memory.empty(4).fill_(9.0) for _ in range(5)]
    assert len({place(tensor) for tensor in [*held, *views]}) == 10
    assert [view.flatten()[0].item() for view in views] == [4, 3, 2]


def test_what_autograd_keeps_is_held():
    memory = BatchMemory()
    weight = torch.ones(4, requires_grad=True)
    loss = (weight * memory.empty(4).fill_(2.0)).sum()
    memory.empty(4).fill_(7.0)
    loss.backward()
    assert weight.grad.tolist() == [2.0] * 4


def test_what_an_array_shares_is_held():
    memory = BatchMemory()
    array = memory.empty(4).fill_(2.0).numpy()
    memory.empty(4).fill_(7.0)
    assert array.tolist() == [2.0] * 4


def test_large_and_empty_batches_have_their_own():
    memory = BatchMemory()
    assert memory.empty(0, 3).shape == (0, 3)
    assert memory.empty(MOST_BYTES // 4 + 1).shape == (MOST_BYTES // 4 + 1,)
    assert not memory._blocks


def test_larger_memory_takes_the_place_of_what_is_free():
    memory = BatchMemory()
    for count in range(1, 9):
        memory.empty(count)
    assert [len(block.memory) for block in memory._blocks] == [8]


def test_a_copy_begins_with_nothing():
    memory = BatchMemory()
    held = memory.empty(4)
    for other in (copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))):
        assert place(other.empty(4)) != place(held)
