"""Fresh random mini-batches under the compressed schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class RandomParameters(Section):
    """Random mini-batches, compressed schedule; nothing to set."""


def build(context: Context[RandomParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.random import Random

    return Random(context)


SPEC = MethodSpec(build, RandomParameters, scores_examples=False)
