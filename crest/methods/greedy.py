"""A fresh mini-batch coreset for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section
from crest.parameters.shared import Choice, LearnedParameters, Proxy, SubsetSize

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class GreedyParameters(Section):
    """A fresh mini-batch coreset for every step: crest without regions, its keys."""

    proxy: Proxy = "logits"
    choice: Choice = "facility_location"
    subset_size: SubsetSize = 0.01
    learned: LearnedParameters = LearnedParameters()


def build(context: Context[GreedyParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.greedy import Greedy

    return Greedy(context)


SPEC = MethodSpec(build, GreedyParameters)
