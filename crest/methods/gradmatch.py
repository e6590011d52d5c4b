"""Weighted gradients of a share of the training set whose sum is that of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, key
from crest.parameters.shared import (
    CoresetProxy,
    CoresetSize,
    GroupSize,
    PassesOfCoreset,
    PerClass,
)
from crest.parameters.types import NonNegative

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class GradmatchParameters(Section):
    """Weighted gradients of a share of the training set whose sum is that of all."""

    proxy: CoresetProxy = "own_weights"
    coreset_size: CoresetSize = 0.1
    passes: PassesOfCoreset = 1
    per_class: PerClass = True
    group_size: GroupSize = 5000
    regularisation: NonNegative = key(0.5, "of the weights, l2 (lambda)")


def build(context: Context[GradmatchParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.gradmatch import gradmatch

    return gradmatch(context)


SPEC = MethodSpec(build, GradmatchParameters)
