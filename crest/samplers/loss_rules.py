"""Rules: which examples take part in a round of :class:`~crest.samplers.loss_batches.LossRounds`.

A new one is a class here, or in a file of its own, and a line in RULES.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Protocol

from torch import Tensor

from crest.errors import ParameterError
from crest.samplers.rounds import Focus


class Rule(Protocol):
    """Says how likely each example takes part in the next round."""

    @property
    def needs_losses(self) -> bool:
        """Whether the losses of training are asked for; without, reporting them is optional."""
        ...

    def chances(self, losses: Tensor, progress: float) -> Tensor | None:
        """Return the chance of each example, float32 n; None for 1 each.

        Parameters
        ----------
        losses
            float32, n: the last of each example, NaN where there is none yet; not to be written to.
        progress
            Share of all steps that were drawn before the round.
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """All examples in every round: passes through the data without replacement."""

    needs_losses: bool = False

    def chances(self, losses: Tensor, progress: float) -> None:
        """Return None: 1 each."""


@dataclass(frozen=True)
class Focused:
    """Learned examples less often: π_i = (ℓ_i / mean ℓ)^exponent in [floor, 1], ℓ_i the last loss.

    Attributes
    ----------
    exponent
        0 for a chance of 1 each.
    floor
        The lowest chance.
    ceiling
        Losses above so many times the mean are taken for those of wrong labels, whose chance is
        the floor; None to take no label for wrong.
    until
        Share of the steps after which rounds have all examples.
    """

    exponent: float = 0.5
    floor: float = 0.25
    ceiling: float | None = None
    until: float = 0.85
    needs_losses: bool = True

    def __post_init__(self) -> None:
        _require("exponent", self.exponent, 0.0, 100.0)
        _require("floor", self.floor, 1e-6, 1.0)
        _require("until", self.until, 0.0, 1.0)
        if self.ceiling is not None:
            _require("ceiling", self.ceiling, 1e-6, 1e30)

    def chances(self, losses: Tensor, progress: float) -> Tensor | None:
        """Return the chance of each example, 1 for one without a loss; None before there is one."""
        if progress >= self.until or bool(losses.isnan().all()):
            return None
        return Focus(self.exponent, self.floor, self.ceiling).chances(losses)


def _require(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ParameterError(
            f"LossBatchSampler: {name}: must be a number from {least:g} to {most:g}, not {value!r}"
        )


@dataclass(frozen=True)
class NamedRule:
    """An entry of RULES: what builds the rule, and whether every batch has each group's share.

    ``stratified``: whether groups are needed; without it, they are used where they are given.
    """

    build: Callable[..., Rule]
    stratified: bool = False


RULES: Mapping[str, NamedRule] = {
    "random": NamedRule(Uniform),
    "stratified": NamedRule(Uniform, stratified=True),
    "focused": NamedRule(Focused),
}


def build_rule(name: str, options: Mapping[str, Any]) -> Rule:
    """Return a rule by its name.

    Raises
    ------
    ParameterError
        If it is unknown, or has no such option, or not of that value.
    """
    if name not in RULES:
        raise ParameterError(f"LossBatchSampler: rule: {name!r} is not one of {', '.join(RULES)}")
    build = RULES[name].build
    known = [field.name for field in fields(build) if field.name != "needs_losses"]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            close = get_close_matches(option, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ParameterError(f"LossBatchSampler: '{name}' has no option '{option}'{hint}")
    return build(**options)
