"""Random mini-batches, learned examples less often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, key
from crest.parameters.shared import FocusExponent, FocusParameters, FocusUntil

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class FocusedFocusParameters(FocusParameters):
    """Examples that are learned are drawn less often."""

    exponent: FocusExponent = 0.5
    until: FocusUntil = 0.85


class FocusedParameters(Section):
    """Random mini-batches, what is learned less often: crest.focus without coresets and regions."""

    draw: Literal["without_replacement", "stratified_without_replacement"] = key(
        "stratified_without_replacement",
        "without_replacement, or with the share that each class has of a pass as well",
    )
    focus: FocusedFocusParameters = FocusedFocusParameters()


def build(context: Context[FocusedParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.focused import Focused

    return Focused(context)


SPEC = MethodSpec(build, FocusedParameters, scores_examples=False, outputs=True)
