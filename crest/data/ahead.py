"""Images that are decoded in threads before they are asked for."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Any

from torch import Tensor

from crest.devices.worker_threads import Threads

# What is decoded: the index of an image, and the box that is cropped of it, if one is.
Key = tuple[int, ...]


class Ahead:
    """Decodes what is expected, a bounded number of images ahead of those that were taken.

    What will be taken again is kept, if it is told so.

    What is taken is the same whether it was expected or not, and whatever the number of threads;
    expecting in vain costs the time alone.

    Parameters
    ----------
    decode
        Returns the image of a key; called in several threads at once.
    most
        Images decoded and not taken yet, and as many besides that are kept.
    workers
        Threads; None for one a core, of a DataLoader's worker process for its share of them.
    """

    def __init__(
        self, decode: Callable[[Key], Tensor], most: int, workers: int | None = None
    ) -> None:
        self._decode = decode
        self._most = most
        self._threads = Threads(workers)
        self._begun: dict[Key, Future[Tensor]] = {}
        self._waiting: deque[Key] = deque()
        self._wanted_again: frozenset[Key] = frozenset()
        self._kept: dict[Key, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave what was begun or kept behind, for another process."""
        nothing: dict[str, Any] = {"_wanted_again": frozenset(), "_kept": {}}
        return vars(self) | {"_begun": {}, "_waiting": deque(), **nothing}

    def expect(self, keys: Iterable[Key]) -> None:
        """Decode these next, in this order; what was expected before and is not now is let go."""
        self._start()
        wanted = dict.fromkeys(key for key in keys if key not in self._kept)
        for key in [key for key in self._begun if key not in wanted]:
            self._begun.pop(key).cancel()
        self._waiting = deque(key for key in wanted if key not in self._begun)
        self._fill()

    def take(self, keys: Sequence[Key]) -> list[Tensor]:
        """Return the images of keys, decoded by now or awaited; raises what ``decode`` does."""
        self._start()
        taken = set(keys)
        self._waiting = deque(key for key in self._waiting if key not in taken)
        found = [self._kept[key] if key in self._kept else self._future(key) for key in keys]
        images = [one if isinstance(one, Tensor) else one.result() for one in found]
        wanted = self._wanted_again
        self._kept |= {key: one for key, one in zip(keys, images, strict=True) if key in wanted}
        self._fill()
        return images

    def keep(self, keys: Iterable[Key]) -> None:
        """Keep the first of these that are taken, to be taken again, and let go of all others."""
        self._wanted_again = frozenset(islice(dict.fromkeys(keys), self._most))
        self._kept = {key: one for key, one in self._kept.items() if key in self._wanted_again}

    def _fill(self) -> None:
        while self._waiting and len(self._begun) < self._most:
            key = self._waiting.popleft()
            self._begun[key] = self._submit(key)

    def _future(self, key: Key) -> Future[Tensor]:
        return self._begun.pop(key) if key in self._begun else self._submit(key)

    def _submit(self, key: Key) -> Future[Tensor]:
        return self._threads.pool().submit(self._decode, key)

    def _start(self) -> None:
        """Forget what another process began, where this one was forked from it."""
        if not self._threads.begun:
            self._begun, self._waiting = {}, deque()
            self._threads.pool()
