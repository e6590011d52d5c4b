"""What a rule is: it says which examples take part in the next round, and with which weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from crest.errors import ParameterError

AT_ONCE = 2**20  # examples that are drawn for at once, which bounds what a round's start takes


@dataclass(frozen=True)
class Observed:
    """What is known of n examples at a round's start; nothing of it may be written to.

    Attributes
    ----------
    losses
        float32, n: the last of each, NaN where there is none yet.
    columns
        float32, n each: what the rule remembers beside them.
    progress
        Share of all steps that were drawn before the round.
    rounds
        Rounds that were drawn before it.
    groups
        int64, n, such as labels; None where none were given.
    """

    losses: Tensor
    columns: Mapping[str, Tensor]
    progress: float
    rounds: int
    groups: Tensor | None = None

    @property
    def known(self) -> Tensor:
        """Examples with a loss, int64 k."""
        return (~self.losses.isnan()).nonzero().flatten()

    @property
    def unknown(self) -> Tensor:
        """Examples without a loss, int64."""
        return self.losses.isnan().nonzero().flatten()


@dataclass(frozen=True)
class Round:
    """Who takes part in a round, and how much their losses count.

    Attributes
    ----------
    members
        Integers, k, all different, in any order.
    weights
        float32, k: by which to multiply their losses; None for 1 each.
    """

    members: Tensor
    weights: Tensor | None = None


Draw = Callable[[Observed, torch.Generator], Round | None]
Remember = Callable[[Mapping[str, Tensor], Tensor, Tensor], None]


@dataclass(frozen=True)
class Rule:
    """A rule with its options.

    Attributes
    ----------
    draw
        Returns the next round; None for one of all examples, every weight 1. Draws are of the
        generator.
    needs_losses
        Whether the losses of training are asked for; without, reporting them is optional.
    weighted
        Whether rounds have weights.
    columns
        What is remembered of each example beside its last loss, by name, with its first value.
    remember
        Takes losses into the columns, in place: ``remember(columns, indices, losses)``, of one
        batch, whose examples are all different.
    """

    draw: Draw
    needs_losses: bool = True
    weighted: bool = False
    columns: Mapping[str, float] = field(default_factory=dict)
    remember: Remember | None = None


def drawn_by_chance(chances: Tensor, generator: torch.Generator) -> Tensor:
    """Draw who takes part, each by its chance (float32, n); int32."""
    members = torch.empty(len(chances), dtype=torch.int32)
    count = 0
    for start in range(0, len(chances), AT_ONCE):
        some = chances[start : start + AT_ONCE]
        part = (torch.rand(len(some), generator=generator) < some).nonzero().flatten()
        members[count : count + len(part)] = part + start
        count += len(part)
    return members[:count]


def some_of(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` of k members uniformly, without replacement."""
    return members[torch.randperm(len(members), generator=generator)[:count]]


def highest(members: Tensor, scores: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the ``count`` of k members that have the highest scores (k); of equals any."""
    order = torch.randperm(len(members), generator=generator)
    return members[order[scores[order].topk(count, sorted=False).indices]]


def require(
    rule: str, name: str, value: Any, least: float, most: float, whole: bool = False
) -> None:
    """Refuse an option that is no number, or no whole one, of a range.

    Raises
    ------
    ParameterError
        If it is none.
    """
    kinds = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        number = "whole number" if whole else "number"
        raise ParameterError(
            f"rule '{rule}': {name}: must be a {number} from {least:g} to {most:g}, not {value!r}"
        )
