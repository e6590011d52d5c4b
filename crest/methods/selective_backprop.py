"""Random mini-batches of which those examples are trained on whose fresh loss is large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, key
from crest.parameters.types import Count

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class SelectiveBackpropParameters(Section):
    """Random examples, scored first: the likelier trained on, the larger their loss."""

    power: float = key(
        1.0,
        "the chance is the share of recent losses that are smaller, to this power (beta)",
        ge=0.0,
        le=10.0,
    )
    history: Count = key(1024, "recent losses that a loss is compared with (R)")


def build(context: Context[SelectiveBackpropParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.selective_backprop import SelectiveBackprop

    return SelectiveBackprop(context)


SPEC = MethodSpec(build, SelectiveBackpropParameters)
