"""Rules: which examples take part in a round of :class:`~crest.samplers.loss_rounds.LossRounds`.

A new one is a file with a function of its options, and a line in RULES.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from crest.errors import ParameterError, nearest, not_one_of
from crest.samplers.rules.bandits import epsilon_greedy, ucb
from crest.samplers.rules.focused import focused
from crest.samplers.rules.importance import importance
from crest.samplers.rules.infobatch import infobatch
from crest.samplers.rules.orderdp import orderdp
from crest.samplers.rules.rcap import rcap
from crest.samplers.rules.rule import Observed, Round, Rule
from crest.samplers.rules.selective_backprop import selective_backprop
from crest.samplers.rules.seta import seta
from crest.samplers.rules.uniform import uniform

__all__ = ["RULES", "NamedRule", "Observed", "Round", "Rule", "build_rule"]


@dataclass(frozen=True)
class NamedRule:
    """An entry of RULES: a function of the rule's options, and whether groups are needed.

    Without ``needs_groups`` groups are used where they are given.
    """

    build: Callable[..., Rule]
    needs_groups: bool = False


RULES: Mapping[str, NamedRule] = {
    "random": NamedRule(uniform),
    "stratified": NamedRule(uniform, needs_groups=True),
    "focused": NamedRule(focused),
    "importance": NamedRule(importance),
    "infobatch": NamedRule(infobatch),
    "selective_backprop": NamedRule(selective_backprop),
    "ucb": NamedRule(ucb),
    "epsilon_greedy": NamedRule(epsilon_greedy),
    "orderdp": NamedRule(orderdp),
    "rcap": NamedRule(rcap, needs_groups=True),
    "seta": NamedRule(seta),
}


def build_rule(name: str, options: Mapping[str, Any], others: Iterable[str] = ()) -> Rule:
    """Return a rule by its name; ``others`` are names that an option may have been meant for.

    Raises
    ------
    ParameterError
        If it is unknown, or has no such option, or not of that value.
    """
    if not isinstance(name, str) or name not in RULES:
        raise ParameterError(f"LossBatchSampler: rule: {not_one_of(name, RULES)}")
    build = RULES[name].build
    known = list(signature(build).parameters)
    for option in options:
        if option not in known:
            meant = nearest(option, [*known, *others])
            raise ParameterError(f"LossBatchSampler: '{name}' has no option '{option}'{meant}")
    return build(**options)
