"""Rounds through n examples, of which those take part that a rule says: a sequence of batches."""

from typing import Any

import torch
from torch import Tensor

from crest.samplers.loss_rules import Rule
from crest.samplers.shuffling import random_order, shuffled
from crest.selection.shares import stratified_order

AT_ONCE = 2**20  # examples that are drawn for at once, which bounds what a round's start takes
LISTED = 2**14  # indices that are made Python's at once


class LossRounds:
    """Draws batches without replacement in rounds, in random order; no example twice in a batch.

    Parameters
    ----------
    count
        Examples, n.
    generator
        On the CPU; all draws are its.
    groups
        int64, n, for rounds any stretch of which has of every group the share that takes part; None
        for a random order.

    Notes
    -----
    4 bytes an example for the order of a round; at its start 8 more in passing, and with groups as
    much as :func:`~crest.selection.shares.stratified_order` takes.
    """

    def __init__(
        self, count: int, rule: Rule, generator: torch.Generator, groups: Tensor | None = None
    ) -> None:
        self._count = count
        self._rule = rule
        self._generator = generator
        self._groups = groups
        self._order = torch.empty(0, dtype=torch.int32)
        self._start = 0
        self._listed: list[int] = []  # from the place _listed_from on
        self._listed_from = 0

    def holds(self, size: int) -> bool:
        """Whether the round that was begun holds another batch of a size."""
        return len(self._order) - self._start >= size

    def begin(self, losses: Tensor, size: int, progress: float) -> None:
        """Put another round behind what is left of the last; ``losses`` and ``progress`` as Rule's.

        ``size`` is that of a batch: where fewer examples would take part, all do.
        """
        left = self._order[self._start :]
        members = self._taking_part(losses, size, progress)
        if members is None and self._groups is None:
            members = random_order(self._count, self._generator)
        else:
            members = self._ordered(self._all() if members is None else members)
        if len(left):
            members = torch.cat([left, _late(members, left, self._count)])
        self._set(members)

    def take(self, size: int) -> tuple[list[int], Tensor, int]:
        """Return the next batch: its indices, and the order and place that they are of.

        The order is int32 and is not written to any more; the round must hold a batch.
        """
        start = self._start
        self._start = start + size
        first = start - self._listed_from
        if first + size > len(self._listed):
            most = max(LISTED // size, 1) * size
            self._listed, self._listed_from = self._order[start : start + most].tolist(), start
            first = 0
        return self._listed[first : first + size], self._order, start

    def _set(self, order: Tensor) -> None:
        self._order, self._start = order, 0
        self._listed, self._listed_from = [], 0

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of the round, and the generator."""
        return {
            "order": self._order[self._start :].clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a round."""
        self._set(state["order"].clone())
        self._generator.set_state(state["generator"])

    def _all(self) -> Tensor:
        return torch.arange(self._count, dtype=torch.int32)

    def _taking_part(self, losses: Tensor, size: int, progress: float) -> Tensor | None:
        """Return who takes part in a round, int32; None for all."""
        chances = self._rule.chances(losses, progress)
        if chances is None:
            return None
        members = self._drawn(chances)
        return None if len(members) < 2 * size else members

    def _drawn(self, chances: Tensor) -> Tensor:
        """Draw who takes part, each by its chance."""
        members = []
        for start in range(0, self._count, AT_ONCE):
            some = chances[start : start + AT_ONCE]
            part = torch.rand(len(some), generator=self._generator) < some
            members.append((part.nonzero().flatten() + start).int())
        return torch.cat(members)

    def _ordered(self, members: Tensor) -> Tensor:
        if self._groups is None:
            return shuffled(members, self._generator)
        return stratified_order(members, self._groups, self._generator)


def _late(members: Tensor, left: Tensor, count: int) -> Tensor:
    """Put those of a new round that are left of the last at its end: no batch has both."""
    again = torch.zeros(count, dtype=torch.bool)
    again[left] = True
    near = torch.cat([again[some] for some in members.split(AT_ONCE)])
    return torch.cat([members[~near], members[near]])
