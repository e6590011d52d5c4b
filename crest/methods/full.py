"""Training on everything, for all steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class FullParameters(Section):
    """Every step on random mini-batches; nothing to set."""


def build(context: Context[FullParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.random import Random

    return Random(context)


SPEC = MethodSpec(build, FullParameters, takes_all_steps=True, scores_examples=False)
