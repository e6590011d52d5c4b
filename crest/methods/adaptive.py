"""Random mini-batches with each class's share, focused and without wrong labels where it pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, key
from crest.parameters.types import Share

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class AdaptiveParameters(Section):
    """Random mini-batches with each class's share; the rest only where training shows it pays."""

    label_noise: bool = key(
        True, "estimate label noise first; likely wrong labels then take part less often"
    )
    onset: float = key(
        0.5,
        "share of the first losses that is left when learned examples begin to take part less",
        gt=0.0,
        le=1e30,
    )
    exponent: float = key(0.5, "chance = (loss / mean loss) to this power", ge=0.0, le=100.0)
    floor: float = key(0.25, "lowest chance", ge=1e-6, le=1.0)
    until: Share = key(0.85, "share of the steps after which no loss counts")


def build(context: Context[AdaptiveParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.by_rule import ByRule
    from crest.samplers.label_quality import LabelQuality
    from crest.samplers.rules import build_rule

    parameters = context.parameters
    options = {name: getattr(parameters, name) for name in ("exponent", "floor", "until", "onset")}
    rule = build_rule("focused", options)
    quality = LabelQuality(context, "adaptive.label_noise", parameters.label_noise)
    return ByRule(context, "adaptive", rule, stratified=True, quality=quality)


SPEC = MethodSpec(build, AdaptiveParameters, scores_examples=False, outputs=True)
