"""Examples whose gradient step helps most those held out of the training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


def build(context: Context) -> Method:
    """Return the method for a run."""
    from crest.samplers.glister import glister

    return glister(context)


SPEC = MethodSpec(build)
