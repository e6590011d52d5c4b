"""Random mini-batches in which every class has its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class StratifiedParameters(Section):
    """Random mini-batches with a share for each class; nothing to set."""


def build(context: Context[StratifiedParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.stratified import Stratified

    return Stratified(context)


SPEC = MethodSpec(build, StratifiedParameters, scores_examples=False)
