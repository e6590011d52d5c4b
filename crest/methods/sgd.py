"""Full training cut off when the budget is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class SgdParameters(Section):
    """Full training cut off when the budget is spent; nothing to set."""


def build(context: Context[SgdParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.random import Random

    return Random(context)


SPEC = MethodSpec(build, SgdParameters, schedule_of_full=True, scores_examples=False)
