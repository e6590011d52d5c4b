"""Examples whose gradient step helps most those held out of the training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, key
from crest.parameters.shared import CoresetSize, PassesOfCoreset
from crest.parameters.types import Count, Positive

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class GlisterParameters(Section):
    """Examples whose gradient step helps most those held out of the training set."""

    coreset_size: CoresetSize = 0.1
    passes: PassesOfCoreset = 1
    per_class: bool = key(False, "whether every class has its share of the coreset")
    validation: float = key(
        0.1,
        "share of the training set held out to choose by, and never trained on",
        gt=0.0,
        lt=1.0,
    )
    gradient_updates: Count = key(
        20, "times that the gradient of the validation loss is taken anew while a coreset is chosen"
    )
    step_size: Positive = key(1.0, "of the gradient step whose effect on that loss is foretold")


def build(context: Context[GlisterParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.glister import glister

    return glister(context)


SPEC = MethodSpec(build, GlisterParameters)
