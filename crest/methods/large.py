"""Random mini-batches, so many times larger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, key
from crest.parameters.types import Factor

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class LargeParameters(Section):
    """Random mini-batches that are larger."""

    factor: Factor = key(
        2.0, "mini-batches are so many times train.batch_size, at as many steps as random's"
    )


def build(context: Context[LargeParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.large import large

    return large(context)


SPEC = MethodSpec(build, LargeParameters, scores_examples=False)
