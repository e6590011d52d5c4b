"""Methods: what to train on, each declared in a file.

A new one is a file here and a line in METHODS.
"""

from collections.abc import Mapping

from crest.errors import ParameterError, not_one_of
from crest.methods.adaptive import SPEC as ADAPTIVE
from crest.methods.batch_selection import SPEC as BATCH_SELECTION
from crest.methods.by_rule import SPEC as BY_RULE
from crest.methods.craig import SPEC as CRAIG
from crest.methods.crest import SPEC as CREST
from crest.methods.focused import SPEC as FOCUSED
from crest.methods.full import SPEC as FULL
from crest.methods.glister import SPEC as GLISTER
from crest.methods.gradmatch import SPEC as GRADMATCH
from crest.methods.greedy import SPEC as GREEDY
from crest.methods.large import SPEC as LARGE
from crest.methods.random import SPEC as RANDOM
from crest.methods.replay import SPEC as REPLAY
from crest.methods.selective_backprop import SPEC as SELECTIVE_BACKPROP
from crest.methods.sgd import SPEC as SGD
from crest.methods.spec import MethodSpec
from crest.methods.stratified import SPEC as STRATIFIED

METHODS: Mapping[str, MethodSpec] = {
    "full": FULL,
    "random": RANDOM,
    "crest": CREST,
    "replay": REPLAY,
    "sgd": SGD,
    "large": LARGE,
    "stratified": STRATIFIED,
    "focused": FOCUSED,
    "adaptive": ADAPTIVE,
    "by_rule": BY_RULE,
    "selective_backprop": SELECTIVE_BACKPROP,
    "batch_selection": BATCH_SELECTION,
    "greedy": GREEDY,
    "craig": CRAIG,
    "gradmatch": GRADMATCH,
    "glister": GLISTER,
}

__all__ = ["METHODS", "MethodSpec", "check_method"]


def check_method(method: str) -> None:
    """Raise a :class:`ParameterError` if there is no such method."""
    if method not in METHODS:
        raise ParameterError(f"--method, run.methods: {not_one_of(method, METHODS)}")
