"""Rules: which examples take part in a round of :class:`~crest.samplers.loss_batches.LossRounds`.

A new one is a class and a function of its options, in a file, and a line in RULES.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import signature
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
    """Learned examples less often, by a focus on their last losses.

    Attributes
    ----------
    focus
        The chance of each example.
    until
        Share of the steps after which rounds have all examples.
    """

    focus: Focus
    until: float
    needs_losses: bool = True

    def chances(self, losses: Tensor, progress: float) -> Tensor | None:
        """Return the chance of each example, 1 for one without a loss; None before there is one."""
        if progress >= self.until or bool(losses.isnan().all()):
            return None
        return self.focus.chances(losses)


def uniform() -> Uniform:
    """Return the rule that has no options."""
    return Uniform()


def focused(
    exponent: float = 0.5, floor: float = 0.25, ceiling: float | None = None, until: float = 0.85
) -> Focused:
    """Return a focus; ``exponent``, ``floor`` and ``ceiling`` as of :class:`Focus`.

    Raises
    ------
    ParameterError
        If one is out of range.
    """
    _require("exponent", exponent, 0.0, 100.0)
    _require("floor", floor, 1e-6, 1.0)
    _require("until", until, 0.0, 1.0)
    if ceiling is not None:
        _require("ceiling", ceiling, 1e-6, 1e30)
    return Focused(Focus(exponent, floor, ceiling), until)


def _require(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ParameterError(
            f"LossBatchSampler: {name}: must be a number from {least:g} to {most:g}, not {value!r}"
        )


@dataclass(frozen=True)
class NamedRule:
    """An entry of RULES: a function of the rule's options, and whether groups are needed.

    Without ``stratified`` groups are used where they are given.
    """

    build: Callable[..., Rule]
    stratified: bool = False


RULES: Mapping[str, NamedRule] = {
    "random": NamedRule(uniform),
    "stratified": NamedRule(uniform, stratified=True),
    "focused": NamedRule(focused),
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
    known = list(signature(build).parameters)
    for option in options:
        if option not in known:
            close = get_close_matches(option, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ParameterError(f"LossBatchSampler: '{name}' has no option '{option}'{hint}")
    return build(**options)
