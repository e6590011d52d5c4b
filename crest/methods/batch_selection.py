"""Mini-batches selected from more candidates than are trained on, by scores of their own views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import ValidationInfo, field_validator

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, key
from crest.parameters.shared import ProxyModelParameters
from crest.parameters.types import Share

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method

CORESETS = ("facility_location", "spatially_stratified", "spatially_balanced")


class BatchSelectionParameters(Section):
    """Candidates are scored, and some of them make the mini-batch."""

    score_by: Literal["memory", "memory_and_proxy", "proxy", "model"] = key(
        "memory",
        "model: a forward pass; proxy: that of a small model; memory: what is to be expected after "
        "the last visit, once two passes are done; memory_and_proxy: after both",
    )
    draw: Literal["without_replacement", "stratified_without_replacement"] = key(
        "without_replacement",
        "of candidates: without_replacement, or with the share that each class has as well",
    )
    keep: Literal[
        "stratified_importance",
        "importance",
        "gradient_share",
        "hardest",
        "facility_location",
        "spatially_stratified",
        "spatially_balanced",
    ] = key(
        "importance",
        "importance: the likelier the larger the gradient, a quarter at least, weighed by one over "
        "the chance; stratified_importance: of each class as many as its chances sum to as well; "
        "gradient_share: as many as carry all but lost of the gradient; hardest: those with the "
        "largest; facility_location, spatially_stratified, spatially_balanced: a "
        "coreset",
    )
    share: Share = key(0.6, "share of the candidates that is trained on, but for gradient_share")
    lost: float = key(
        0.1,
        "share of the gradients' summed norms that is left out (gradient_share)",
        ge=0.0,
        le=0.9,
    )
    start: float = key(
        0.0, "share of the steps before which all candidates are trained on", ge=0.0, le=1.0
    )
    proxy_model: ProxyModelParameters = ProxyModelParameters()

    @field_validator("share")
    @classmethod
    def _importance_keeps_a_quarter(cls, share: float, others: ValidationInfo) -> float:
        keep = others.data.get("keep")
        if keep in ("importance", "stratified_importance") and share < 0.25:
            raise ValueError(f"must be at least 0.25 where batch_selection.keep is {keep}")
        return share

    @field_validator("keep")
    @classmethod
    def _coresets_need_a_forward_pass(cls, keep: str, others: ValidationInfo) -> str:
        score_by = others.data.get("score_by")
        if keep in CORESETS and score_by not in (
            "model",
            "proxy",
        ):
            raise ValueError(f"{keep} needs batch_selection.score_by: model or proxy")
        return keep


def build(context: Context[BatchSelectionParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.batch_selection import BatchSelection

    return BatchSelection(context)


SPEC = MethodSpec(build, BatchSelectionParameters, outputs=True)
