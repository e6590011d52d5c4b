"""Parameters that several methods have, each declared once."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from crest.parameters.section import Section, key
from crest.parameters.types import (
    Count,
    CountOrZero,
    ModelName,
    NonNegative,
    Positive,
    Share,
    ShareOrCount,
)

Proxy = Annotated[
    str, Field(description="gradient compared: logits (p - y), last_input (W'(p - y))")
]
Choice = Annotated[
    str,
    Field(
        description="facility_location: medoids with weights; medoids: without; "
        "spatially_stratified: one of each group of near ones, unbiased, all weights 1; "
        "spatially_balanced: the same by pairs, slower"
    ),
]
SubsetSize = Annotated[
    ShareOrCount,
    Field(description="random subset (r), a share of the training set or a count"),
]
CoresetProxy = Annotated[
    str,
    Field(
        description="gradient compared: logits, last_input; per class also own_weights ((p_y - 1) "
        "times the last input)"
    ),
]
CoresetSize = Annotated[
    ShareOrCount,
    Field(description="examples chosen, a share of those to choose from or a count"),
]
PassesOfCoreset = Annotated[Count, Field(description="through a coreset, before another is chosen")]
PerClass = Annotated[bool, Field(description="whether it is chosen class by class")]
GroupSize = Annotated[
    Count,
    Field(
        description="examples chosen from at once; a larger class, or set, is chosen from in "
        "random parts"
    ),
]
FocusExponent = Annotated[
    float,
    Field(
        ge=0.0,
        le=100.0,
        description="an example is drawn as often as (last loss / mean) to this power; 0: drawn "
        "uniformly",
        json_schema_extra={"option": "focus"},
    ),
]
FocusUntil = Annotated[
    Share,
    Field(
        description="share of the steps after which all are drawn uniformly; 0.85: from the last "
        "decay of schedule steps; 1 where classes are rare"
    ),
]


class FocusParameters(Section):
    """Examples that are learned are drawn less often."""

    exponent: FocusExponent = 0.0
    floor: Share = key(0.25, "lowest chance of an example to be drawn in a pass")
    ceiling: Positive | None = key(
        None,
        "a last loss of more than so many times the mean is taken for a wrong label's, and drawn "
        "with the lowest chance; try 1 where many are wrong",
    )
    until: FocusUntil = 1.0

    @field_validator("ceiling")
    @classmethod
    def _needs_focus(cls, ceiling: float | None, others: ValidationInfo) -> float | None:
        if ceiling is not None and others.data.get("exponent") == 0.0:
            raise ValueError("needs a focus above 0; without one examples are drawn uniformly")
        return ceiling


class ProxyModelParameters(Section):
    """A small model that trains beside the large one and scores candidates for it."""

    model: ModelName = key("proxynet", "which, as train.model; of text: one of transformers")
    interval: Count = key(4, "it is trained on every k-th batch of candidates")
    lr: Positive = key(0.1, "its highest learning rate, of SGD with momentum")


class LearnedParameters(Section):
    """Examples that are learned are left out."""

    loss: NonNegative = key(
        0.1, "examples whose every observed loss is below this are learned (alpha)"
    )
    window: CountOrZero = key(
        20, "training steps over which losses are observed (T2), 0: never exclude"
    )
    floor: ShareOrCount = key(0.1, "examples always kept, a share of the training set or a count")
