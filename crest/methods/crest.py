"""CREST: mini-batch coresets within regions where a quadratic model of the loss holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


def build(context: Context) -> Method:
    """Return the method for a run."""
    from crest.samplers.crest import Crest

    return Crest(context)


SPEC = MethodSpec(build, outputs=True)
