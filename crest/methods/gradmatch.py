"""Weighted gradients of a share of the training set whose sum is that of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


def build(context: Context) -> Method:
    """Return the method for a run."""
    from crest.samplers.gradmatch import gradmatch

    return gradmatch(context)


SPEC = MethodSpec(build)
