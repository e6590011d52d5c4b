"""Medoids of a share of the training set, weighted by the examples they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


def build(context: Context) -> Method:
    """Return the method for a run."""
    from crest.samplers.craig import craig

    return craig(context)


SPEC = MethodSpec(build)
