"""Full training cut off when the budget is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


def build(context: Context) -> Method:
    """Return the method for a run."""
    from crest.samplers.random import Random

    return Random(context)


SPEC = MethodSpec(build, schedule_of_full=True, looks=False)
