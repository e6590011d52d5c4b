"""CREST: mini-batch coresets within regions where a quadratic model of the loss holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, fault, key
from crest.parameters.shared import (
    Choice,
    FocusParameters,
    LearnedParameters,
    Proxy,
    SubsetSize,
)
from crest.parameters.types import Count, CountOrZero, Factor, Order, Positive, Smoothing

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method


class QuadraticParameters(Section):
    """The quadratic model of the loss, whose error ends a region."""

    parameters: str = key(
        "full",
        "what it is over: full, last_layer, or a pattern of parameters' names",
        option="quadratic",
    )
    order: Order = key(
        2,
        "1: without the Hessian, which then sets the checks' interval only",
        option="order",
    )
    loss: Literal["measured", "filtered"] = key(
        "measured",
        "where a region opens; measured: mean of the subsets; filtered: weighed against earlier "
        "means",
        option="region_loss",
    )


class GradientParameters(Section):
    """The gradient in the quadratic model."""

    source: Literal["coresets", "training"] = key(
        "coresets",
        "coresets: estimated with the Hessian; training: of the steps taken",
        option="gradient",
    )
    smoothing: Smoothing = key(0.9, "beta 1; 0: the last estimate alone")


class CurvatureParameters(Section):
    """The Hessian diagonal in the quadratic model."""

    smoothing: Smoothing = key(0.999, "beta 2; 0: the last estimate's absolute values")
    hutchinson_draws: Count = key(1, "Rademacher draws per estimate", option="hutchinson_draws")
    minibatches: Count | None = key(None, "mini-batches in an estimate, null: all those selected")
    interval: CountOrZero = key(0, "steps that an estimate serves at least, 0: one for each region")


class CrestFocusParameters(FocusParameters):
    """Examples that are learned are drawn less often."""

    weights: bool = key(
        False, "weigh examples by one over their chance, which takes the focus's bias away"
    )


class CrestParameters(Section):
    """Mini-batch coresets within regions; the defaults are the paper's, its symbols in brackets."""

    proxy: Proxy = "logits"
    choice: Choice = "facility_location"
    subset_size: SubsetSize = 0.01
    threshold: Positive = key(
        0.05, "relative error of the quadratic model that ends a region (tau)"
    )
    interval_factor: Factor = key(1.0, "steps between checks, per fall of the curvature (h)")
    minibatch_factor: Annotated[float, Field(gt=0.0, le=1000.0)] = key(
        5.0, "mini-batch coresets selected per step between checks (b)"
    )
    subset_coresets: Count = key(
        1, "mini-batch coresets selected from one random subset, no example twice"
    )
    selection: Literal["ahead", "on_demand"] = key(
        "ahead",
        "ahead: all P of a region when it opens; on_demand: each just before its step, P unused",
    )
    outputs: Literal["fresh", "remembered"] = key(
        "fresh",
        "what is chosen by; fresh: a forward pass; remembered: an example's outputs (logits) as "
        "training last computed them",
    )
    draw: Literal[
        "independent", "stratified", "without_replacement", "stratified_without_replacement"
    ] = key(
        "independent",
        "of random subsets; independent: of each other; stratified: and of each class its share; "
        "without_replacement: through V; stratified_without_replacement: both",
    )
    label_noise: bool = key(
        False, "estimate label noise first; likely wrong labels are then drawn less often"
    )
    quadratic: QuadraticParameters = QuadraticParameters()
    gradient: GradientParameters = GradientParameters()
    curvature: CurvatureParameters = CurvatureParameters()
    focus: CrestFocusParameters = CrestFocusParameters()
    learned: LearnedParameters = LearnedParameters()

    @field_validator("outputs")
    @classmethod
    def _remembered_is_on_demand(cls, outputs: str, others: ValidationInfo) -> str:
        if outputs == "remembered" and others.data.get("selection") == "ahead":
            raise ValueError("remembered needs crest.selection: on_demand")
        return outputs

    @field_validator("label_noise")
    @classmethod
    def _quality_is_without_replacement(cls, label_noise: bool, others: ValidationInfo) -> bool:
        if label_noise and others.data.get("draw") in ("independent", "stratified"):
            raise ValueError(
                "true needs crest.draw: without_replacement or stratified_without_replacement"
            )
        return label_noise

    @field_validator("focus")
    @classmethod
    def _focus_is_without_replacement(
        cls, focus: CrestFocusParameters, others: ValidationInfo
    ) -> CrestFocusParameters:
        if focus.exponent > 0.0 and others.data.get("draw") in ("independent", "stratified"):
            raise fault(
                "exponent",
                focus.exponent,
                "above 0 needs crest.draw: without_replacement or stratified_without_replacement",
            )
        return focus


def build(context: Context[CrestParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.crest import Crest

    return Crest(context)


SPEC = MethodSpec(build, CrestParameters, outputs=True)
