"""Memory of batches on the CPU that later batches are written into, once nobody holds it.

A batch of 64 photographs is 38 MB. The system hands out so much afresh each time, page by page,
which takes longer than the arithmetic that fills it.
"""

import math
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Larger batches are allocated each time.
MOST_BYTES = 2**27
# One that is used while the next is made, and the next.
MOST_BATCHES = 2


@dataclass(frozen=True, eq=False)
class _Block:
    """Memory, and the array that the batch in it holds."""

    memory: Tensor
    array: weakref.ref[Any]


class BatchMemory:
    """Float32 memory for batches; what is held anywhere is never given again.

    A batch holds its memory as any tensor does: through views of it too, and through what autograd
    keeps. Safe in several threads. A copy, as in another process, begins with nothing.
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["BatchMemory"], tuple[()]]:
        return BatchMemory, ()

    def empty(self, *shape: int) -> Tensor:
        """Return an uninitialised float32 tensor on the CPU."""
        count = math.prod(shape)
        if not 0 < 4 * count <= MOST_BYTES:
            return _allocated(*shape)
        with self._lock:
            return self._taken(count).view(shape)

    def _taken(self, count: int) -> Tensor:
        held = [block for block in self._blocks if block.array() is not None]
        free = [b for b in self._blocks if b not in held and len(b.memory) >= count]
        memory = free.pop().memory if free else _allocated(count)
        # The tensor's storage holds this very array until it is freed itself.
        array = memory.numpy()[:count]
        others = [*held, *free][: MOST_BATCHES - 1]
        self._blocks = [*others, _Block(memory, weakref.ref(array))]
        return torch.from_numpy(array)


def _allocated(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device="cpu")
