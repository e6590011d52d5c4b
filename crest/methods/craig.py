"""Medoids of a share of the training set, weighted by the examples they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section
from crest.parameters.shared import (
    CoresetProxy,
    CoresetSize,
    GroupSize,
    PassesOfCoreset,
    PerClass,
)

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class CraigParameters(Section):
    """Medoids of a share of the training set, weighted by the examples they stand for."""

    proxy: CoresetProxy = "logits"
    coreset_size: CoresetSize = 0.1
    passes: PassesOfCoreset = 1
    per_class: PerClass = True
    group_size: GroupSize = 5000


def build(context: Context[CraigParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.craig import craig

    return craig(context)


SPEC = MethodSpec(build, CraigParameters)
