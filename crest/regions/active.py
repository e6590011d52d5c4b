"""The examples training still draws from (V), and the learned ones that leave it."""

import torch
from torch import Tensor

from crest.devices.number_types import number_type

MERGE_AT = 2**16  # losses recorded


class ActiveSet:
    """V: the examples that are not excluded.

    Drawing costs O(k) for k examples and excluding O(k) for k exclusions, however many examples
    there are. ``excluded_at`` (int32 n) holds the step at which each left, −1 for never. An example
    takes 12 bytes, 20 where there are 2³¹ or more of them.
    """

    def __init__(self, count: int) -> None:
        self._members = torch.arange(count, dtype=number_type(count))
        self._places = self._members.clone()
        self._size = count
        self.excluded_at = torch.full((count,), -1, dtype=torch.int32)

    def __len__(self) -> int:
        return self._size

    @property
    def total(self) -> int:
        """Examples in all, n."""
        return len(self._members)

    def __contains__(self, index: int) -> bool:
        return bool(self._places[index] < self._size)

    def contains(self, indices: Tensor) -> Tensor:
        """Whether each of the indices is in V; bool k for int64 k."""
        return self._places[indices] < self._size

    def members(self) -> Tensor:
        """Return all of V, in no particular order; :func:`number_type` of n, |V|."""
        return self._members[: self._size].clone()

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a uniform random subset without replacement; int64, ``count`` (at most |V|)."""
        if count > self._size // 2:
            order = torch.randperm(self._size, generator=generator)[:count]
            return self._members[order].long()
        drawn: dict[int, None] = {}  # which keeps the order in which its keys came first
        while len(drawn) < count:
            more = torch.randint(self._size, (count,), generator=generator)
            drawn |= dict.fromkeys(more.tolist())
        return self._members[torch.tensor(list(drawn)[:count])].long()

    def exclude(self, indices: Tensor, step: int) -> None:
        """Take different members out of V; int64, k."""
        for index in indices.tolist():
            self._size -= 1
            place, last = int(self._places[index]), int(self._members[self._size])
            self._members[place], self._members[self._size] = last, index
            self._places[last], self._places[index] = place, self._size
        self.excluded_at[indices] = step

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        return {
            "members": self._members,
            "size": torch.tensor(self._size),
            "excluded_at": self.excluded_at,
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state, the order of the members included."""
        self._members = state["members"].clone()
        self._places = torch.empty_like(self._members)
        count = len(self._members)
        self._places[self._members] = torch.arange(count, dtype=self._members.dtype)
        self._size = int(state["size"])
        self.excluded_at = state["excluded_at"].clone()


class LearnedExamples:
    """Records losses over non-overlapping windows and finds which examples are learned.

    Learned is an example that was seen more than once in the window, each time with a loss below
    ``threshold`` (α). Examples never seen, or seen once, stay. What is kept grows with the examples
    that a window sees, not with all there are.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._start_window()

    def record(self, indices: Tensor, losses: Tensor) -> None:
        """Take note of losses; ``indices`` int64 k, repeats allowed, ``losses`` float32 k."""
        self._waiting.append((indices, losses.cpu()))
        self._waiting_count += len(indices)
        # At least as many as are merged already, so that each is merged a few times at most.
        if self._waiting_count >= max(MERGE_AT, len(self._seen)):
            self._merge()

    def close_window(self, active: ActiveSet, floor: int) -> Tensor:
        """Return the learned members of V, and start a new window.

        At most |V| − ``floor`` are returned, the ones with the lowest losses first.
        """
        self._merge()
        seen, highest, times_seen = self._seen, self._highest, self._times_seen
        self._start_window()
        learned = (highest < self._threshold) & (times_seen > 1) & (active.excluded_at[seen] < 0)
        order = highest[learned].argsort(stable=True)
        return seen[learned][order][: max(0, len(active) - floor)]

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        self._merge()
        return {"highest": self._highest, "times_seen": self._times_seen, "seen": self._seen}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state."""
        self._start_window()
        self._seen, self._highest = state["seen"], state["highest"]
        self._times_seen = state["times_seen"]

    def _start_window(self) -> None:
        # Of each example seen, in order: its highest loss, and how often it was seen.
        self._seen = torch.empty(0, dtype=torch.int64)
        self._highest = torch.empty(0)
        self._times_seen = torch.empty(0, dtype=torch.int32)
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._waiting_count = 0

    def _merge(self) -> None:
        """Take what was recorded since the last time into what is known of each example."""
        if not self._waiting:
            return
        indices, losses = (torch.cat(column) for column in zip(*self._waiting, strict=True))
        times = torch.ones_like(indices, dtype=torch.int32)
        seen, places = torch.cat([self._seen, indices]).unique(return_inverse=True)
        highest = torch.full((len(seen),), -torch.inf)
        highest.scatter_reduce_(0, places, torch.cat([self._highest, losses]), "amax")
        times_seen = torch.zeros(len(seen), dtype=torch.int32)
        times_seen.index_add_(0, places, torch.cat([self._times_seen, times]))
        self._seen, self._highest, self._times_seen = seen, highest, times_seen
        self._waiting, self._waiting_count = [], 0
