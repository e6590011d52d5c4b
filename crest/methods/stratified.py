"""Random mini-batches in which every class has its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


def build(context: Context) -> Method:
    """Return the method for a run."""
    from crest.samplers.stratified import Stratified

    return Stratified(context)


SPEC = MethodSpec(build, looks=False)
