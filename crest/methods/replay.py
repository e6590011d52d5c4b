"""Training on saved coresets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, key

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class ReplayParameters(Section):
    """Training on saved coresets."""

    coresets: str = key("artifacts/train/crest", "a training run's folder, or a coresets.parquet")


def build(context: Context[ReplayParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.replay import Replay

    return Replay(context)


SPEC = MethodSpec(build, ReplayParameters, scores_examples=False)
