"""The examples training still draws from (V), and the learned ones that leave it."""

import torch
from torch import Tensor


class ActiveSet:
    """V: the examples that are not excluded.

    Drawing costs O(k) for k examples and excluding O(k) for k exclusions, however many examples
    there are. ``excluded_at`` (int32 n) holds the step at which each left, −1 for never.
    """

    def __init__(self, count: int) -> None:
        self._members = torch.arange(count)
        self._places = torch.arange(count)
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
        """Return all of V, in an order that tells nothing; int64, |V|."""
        return self._members[: self._size].clone()

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a uniform random subset without replacement; int64, ``count`` (at most |V|)."""
        if count > self._size // 2:
            order = torch.randperm(self._size, generator=generator)[:count]
            return self._members[order]
        drawn = torch.empty(0, dtype=torch.int64)
        while len(drawn) < count:
            more = torch.randint(self._size, (count,), generator=generator)
            drawn = _first_occurrences(torch.cat([drawn, more]))
        return self._members[drawn[:count]]

    def exclude(self, indices: Tensor, step: int) -> None:
        """Take different members out of V; int64, k."""
        for index in indices.tolist():
            self._size -= 1
            place, last = int(self._places[index]), int(self._members[self._size])
            self._members[place], self._members[self._size] = last, index
            self._places[last], self._places[index] = place, self._size
        self.excluded_at[indices] = step

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later :meth:`load_state` needs."""
        return {
            "members": self._members,
            "size": torch.tensor(self._size),
            "excluded_at": self.excluded_at,
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state, the order of the members included."""
        self._members = state["members"].clone()
        self._places = torch.empty_like(self._members)
        self._places[self._members] = torch.arange(len(self._members))
        self._size = int(state["size"])
        self.excluded_at = state["excluded_at"].clone()


class LearnedExamples:
    """Watches losses over non-overlapping windows and tells which examples are learned.

    Learned is an example that was seen more than once in the window, each time with a loss below
    ``threshold`` (α). Examples never seen, or seen once, stay.
    """

    def __init__(self, count: int, threshold: float) -> None:
        self._threshold = threshold
        self._highest = torch.full((count,), -torch.inf)
        self._sightings = torch.zeros(count, dtype=torch.int32)
        self._seen: list[Tensor] = []

    def watch(self, indices: Tensor, losses: Tensor) -> None:
        """Take note of losses; ``indices`` int64 k, repeats allowed, ``losses`` float32 k."""
        self._highest.scatter_reduce_(0, indices, losses.cpu(), "amax")
        self._sightings.index_add_(0, indices, torch.ones_like(indices, dtype=torch.int32))
        self._seen.append(indices)

    def close_window(self, active: ActiveSet, floor: int) -> Tensor:
        """Return the learned members of V, and start a new window.

        At most |V| − ``floor`` are returned, the ones with the lowest losses first.
        """
        if not self._seen:
            return torch.empty(0, dtype=torch.int64)
        seen = torch.cat(self._seen).unique()
        highest, sightings = self._highest[seen], self._sightings[seen]
        self._highest[seen] = -torch.inf
        self._sightings[seen] = 0
        self._seen = []
        learned = (highest < self._threshold) & (sightings > 1) & (active.excluded_at[seen] < 0)
        order = highest[learned].argsort(stable=True)
        return seen[learned][order][: max(0, len(active) - floor)]

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later :meth:`load_state` needs."""
        seen = torch.cat(self._seen) if self._seen else torch.empty(0, dtype=torch.int64)
        return {"highest": self._highest, "sightings": self._sightings, "seen": seen}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state."""
        self._highest = state["highest"].clone()
        self._sightings = state["sightings"].clone()
        self._seen = [state["seen"].clone()] if len(state["seen"]) else []


def _first_occurrences(values: Tensor) -> Tensor:
    """Drop repeated values, keeping the order in which they came."""
    ordered, order = values.sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return values[order[first].sort().values]
