"""Rounds through n examples, of which those take part that a rule says: a sequence of batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crest.samplers.rules.rule import AT_ONCE, Observed, Round, Rule, drawn_by_chance
from crest.samplers.shuffling import random_order, shuffled
from crest.selection.shares import stratified_order


@dataclass(frozen=True, slots=True)
class Order:
    """Examples in the order in which they come: int32 k; ``weights`` float32 k, None for 1 each.

    Neither is written to. ``array`` is the indices as NumPy's, whose numbers are Python's sooner.
    """

    indices: Tensor
    weights: Tensor | None
    array: np.ndarray[Any, Any]

    @classmethod
    def of(cls, indices: Tensor, weights: Tensor | None = None) -> "Order":
        """Return an order of indices."""
        return cls(indices, weights, indices.numpy())

    def weights_of(self, start: int, end: int) -> Tensor:
        """Return the weights of a stretch."""
        return torch.ones(end - start) if self.weights is None else self.weights[start:end]


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
    4 bytes an example for the order of a round, 8 where it is weighted; at its start 8 more in
    passing, and with groups as much as :func:`~crest.selection.shares.stratified_order` takes.
    """

    def __init__(
        self, count: int, rule: Rule, generator: torch.Generator, groups: Tensor | None = None
    ) -> None:
        self._count = count
        self._rule = rule
        self._generator = generator
        self._groups = groups
        self._order = Order.of(torch.empty(0, dtype=torch.int32))
        self._start = 0
        self.begun = 0  # rounds

    def holds(self, size: int) -> bool:
        """Whether the round that was begun holds another batch of a size."""
        return len(self._order.array) - self._start >= size

    def begin(self, observed: Observed, size: int, quality: Tensor | None = None) -> None:
        """Put another round behind what is left of the last.

        ``size`` is that of a batch: where fewer than two would take part, all examples do.
        ``quality``, float32 n, is how likely each label is right: of those that the rule takes each
        takes part with that chance.
        """
        drawn = self._rule.draw(observed, self._generator)
        if quality is not None:
            drawn = _trusted(drawn, quality, self._generator)
        if drawn is not None and len(drawn.members) < 2 * size:
            drawn = None
        weights = _by_index(drawn, self._count) if self._rule.weighted else None
        members = self._in_order(None if drawn is None else drawn.members.int())
        del drawn
        left = self._rest()
        if len(left.indices):
            members = _behind(left.indices, members, self._count)
        if weights is not None:
            weights = weights[members]
            weights[: len(left.indices)] = left.weights_of(0, len(left.indices))
        self._order, self._start = Order.of(members, weights), 0
        self.begun += 1

    def take(self, size: int) -> tuple[Order, int]:
        """Return the next batch: the order and the place in it from which it is.

        The round must hold one.
        """
        start = self._start
        self._start = start + size
        return self._order, start

    def peek(self, size: int) -> Tensor | None:
        """Return the next batch, int64; None where another round begins."""
        start = self._start
        return self._order.indices[start : start + size].long() if self.holds(size) else None

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of the round, and the generator."""
        left = self._rest()
        state = {
            "order": left.indices.clone(),
            "begun": self.begun,
            "generator": self._generator.get_state(),
        }
        return state if left.weights is None else state | {"weights": left.weights.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the middle of a round."""
        weights = state.get("weights")
        self._order = Order.of(state["order"].clone(), None if weights is None else weights.clone())
        self._start, self.begun = 0, int(state["begun"])
        self._generator.set_state(state["generator"])

    def _rest(self) -> Order:
        """Return what is left of the round."""
        order, start = self._order, self._start
        weights = None if order.weights is None else order.weights[start:]
        return Order.of(order.indices[start:], weights)

    def _in_order(self, members: Tensor | None) -> Tensor:
        """Return who takes part as they are to come, int32; None for all."""
        if members is None and self._groups is None:
            return random_order(self._count, self._generator)
        if members is None:
            members = torch.arange(self._count, dtype=torch.int32)
        if self._groups is None:
            return shuffled(members, self._generator)
        return stratified_order(members, self._groups, self._generator)


def _trusted(drawn: Round | None, quality: Tensor, generator: torch.Generator) -> Round:
    """Return those of a round whose labels are believed this time."""
    if drawn is None:
        return Round(drawn_by_chance(quality, generator))
    kept = drawn_by_chance(quality[drawn.members.long()], generator).long()
    weights = None if drawn.weights is None else drawn.weights[kept]
    return Round(drawn.members[kept], weights)


def _by_index(drawn: Round | None, count: int) -> Tensor:
    """Return the weight of each example, 1 of those that have none; float32 n."""
    weights = torch.ones(count)
    if drawn is not None and drawn.weights is not None:
        weights[drawn.members.long()] = drawn.weights
    return weights


def _behind(left: Tensor, members: Tensor, count: int) -> Tensor:
    """Return what is left of a round and the next one's members, int32: no batch has one twice.

    Members that are left of the last round as well come at the end.
    """
    again = torch.zeros(count, dtype=torch.bool)
    again[left] = True
    order = torch.empty(len(left) + len(members), dtype=torch.int32)
    order[: len(left)] = left
    end, late = len(left), []
    for some in members.split(AT_ONCE):
        near = again[some]
        if bool(near.any()):
            late.append(some[near])
            some = some[~near]
        order[end : end + len(some)] = some
        end += len(some)
    if late:
        order[end:] = torch.cat(late)
    return order
