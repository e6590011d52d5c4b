"""Sampling of V without replacement, in rounds; learned examples take part less often."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from crest.devices.number_types import number_type
from crest.parameters.shared import FocusParameters
from crest.regions.active import ActiveSet
from crest.selection.coresets import MiniBatchCoreset
from crest.selection.shares import stratified_order

AT_ONCE = 2**20  # losses


@dataclass(frozen=True)
class Focus:
    """How often examples take part in rounds: π_i = (ℓ_i / mean ℓ)^exponent in [floor, 1].

    Attributes
    ----------
    exponent
        0 for a chance of 1 each.
    floor
        The lowest chance.
    ceiling
        Losses above so many times the mean are taken for those of wrong labels, whose chance is
        the floor; None to take no label for wrong.
    """

    exponent: float
    floor: float
    ceiling: float | None = None

    @classmethod
    def of(cls, parameters: FocusParameters) -> "Focus":
        """Return what the keys of a focus say."""
        return cls(parameters.exponent, parameters.floor, parameters.ceiling)

    def chances(self, losses: Tensor) -> Tensor:
        """Return the chance of each example, float32 k.

        ``losses``, float32 k, are the last of each, NaN where there is none; its chance is 1.
        """
        mean = _mean_of_known(losses) if self.exponent else 0.0
        if mean == 0.0:
            return torch.ones_like(losses)
        # In place: of all of V, every copy is one of n.
        ratios = losses / mean
        if self.ceiling is not None:
            ratios[ratios > self.ceiling] = 0.0
        return ratios.pow_(self.exponent).nan_to_num_(1.0, posinf=1.0).clamp_(self.floor, 1.0)


def _mean_of_known(losses: Tensor) -> float:
    total, count = 0.0, 0
    for some in losses.split(AT_ONCE):  # of many, a copy would take more than they
        known = some[~some.isnan()].double()
        total += float(known.sum())
        count += len(known)
    return total / count if count else 0.0


def focus_subset(
    losses: Tensor, count: int, focus: Focus, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw ``count`` places of k losses as rounds draw them, and the chance of each.

    Those that take part come first, in random order, and only where they are too few the others.
    """
    chance = focus.chances(losses)
    out = torch.rand(len(losses), generator=generator) >= chance
    order = torch.randperm(len(losses), generator=generator)
    places = order[out[order].int().argsort(stable=True)][:count]
    return places, chance[places]


def weighed(coreset: MiniBatchCoreset, chance: Tensor) -> MiniBatchCoreset:
    """Weigh the examples of a coreset by one over their chance (m); the mean stays 1."""
    weights = coreset.weights / chance
    return replace(coreset, weights=weights / weights.mean())


class Rounds:
    """Draws the members of V, each at most once in a round, in random order.

    An example takes part in a round with its chance at the round's start, as ``focus`` says: one
    with a loss of the mean or more in every round, a learned one in some. Drawing costs O(1) an
    example: a round that costs O(|V|) serves at least ``floor``·|V| of them.

    Parameters
    ----------
    active
        V; whatever leaves it is no longer drawn.
    losses
        Returns the last losses of examples, as :class:`Focus` takes them.
    generator
        On the CPU; shared with the method, which saves it.
    remembered
        Whether :meth:`chance` will be asked: it takes 4 bytes an example.
    strata
        int64, n: labels of all examples, for rounds any stretch of which has of every class the
        share that takes part; None for a random order, in which it has that share in the mean.
    quality
        Returns how likely each label is right, float32 n, by which chances are multiplied; None to
        believe all.
    """

    def __init__(
        self,
        active: ActiveSet,
        losses: Callable[[Tensor], Tensor],
        focus: Focus,
        generator: torch.Generator,
        remembered: bool = True,
        strata: Tensor | None = None,
        quality: Callable[[], Tensor | None] = lambda: None,
    ) -> None:
        self._active = active
        self._quality = quality
        self._losses = losses
        self._focus = focus
        self._generator = generator
        self._strata = strata
        self._waiting = torch.empty(0, dtype=number_type(active.total))
        # Never changed in place, so that a state need not copy them.
        self._chances = torch.ones(active.total if remembered else 0)

    def take(self, count: int, uniform: bool = False) -> Tensor:
        """Take the next ``count`` examples (at most |V|), all different; int64.

        With ``uniform`` a round that begins has all of V, whatever the focus; but for labels that
        are likely wrong.
        """
        batch = torch.empty(0, dtype=torch.int64)
        while (missing := count - len(batch)) > 0:
            if len(self._waiting) < missing:
                self._start_round(batch, count, uniform)
            taken, self._waiting = self._waiting[:missing], self._waiting[missing:]
            if len(self._active) < self._active.total:
                taken = taken[self._active.contains(taken)]
            batch = torch.cat([batch, taken.long()]) if len(batch) else taken.long()
        return batch

    def peek(self, count: int) -> Tensor | None:
        """Return what the next :meth:`take` will if V stays; None where a round begins."""
        if len(self._waiting) < count or len(self._active) < self._active.total:
            return None
        return self._waiting[:count].long()

    def chance(self, indices: Tensor) -> Tensor:
        """Return the chance by the focus of each example in the last round it was in; float32 k.

        Only of rounds that remember it.
        """
        return self._chances[indices]

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of the round, and the chances."""
        return {"waiting": self._waiting, "chances": self._chances}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a round."""
        self._waiting, self._chances = state["waiting"], state["chances"]

    def _start_round(self, batch: Tensor, count: int, uniform: bool) -> None:
        """Put another round behind what waits; of both, no example twice among the next."""
        members = self._active.members()
        chance = self._chance_of(members, uniform)
        quality = self._quality()
        believed = chance if quality is None else chance * quality[members.long()]
        # Or too few for a batch and what is in it already.
        if float(believed.sum()) < 2 * count:
            chance = believed = torch.ones_like(chance)
        part = torch.rand(len(members), generator=self._generator) < believed
        if int(part.sum()) < count:  # fewer than a batch, as the draw will have it
            chance, part = torch.ones_like(chance), torch.ones_like(part)
        members = members[part]
        if len(self._chances):
            self._chances = self._chances.index_put((members,), chance[part])
        del chance, part
        members = self._shuffled(members)
        in_batch = torch.zeros(self._active.total, dtype=torch.bool)
        in_batch[self._waiting], in_batch[batch] = True, True
        near = in_batch[members]
        # What is in this batch comes at the round's end.
        self._waiting = torch.cat([self._waiting, members[~near], members[near]])

    def _chance_of(self, members: Tensor, uniform: bool) -> Tensor:
        """Return the chance of each member, float32; without the focus where it is uniform."""
        return torch.ones(len(members)) if uniform else self._focus.chances(self._losses(members))

    def _shuffled(self, members: Tensor) -> Tensor:
        if self._strata is not None:
            return stratified_order(members, self._strata, self._generator)
        order = torch.randperm(len(members), generator=self._generator, dtype=members.dtype)
        return members[order]
