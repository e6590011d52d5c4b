"""Random mini-batches of the examples that a rule takes, by the losses of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from crest.methods.spec import MethodSpec
from crest.parameters.section import Section, flat, key
from crest.parameters.types import Share

if TYPE_CHECKING:
    from crest.samplers.base import Context, Method

RuleName = Literal[
    "importance",
    "infobatch",
    "selective_backprop",
    "ucb",
    "epsilon_greedy",
    "orderdp",
    "rcap",
    "seta",
]
Kept = key(0.5, "share of the examples that takes part in a round")
Decay = key(0.8, "weight of the last loss in the running mean (alpha)")


class ImportanceParameters(Section):
    """The likelier the larger the gradient, and the less it then counts."""

    share: Share = key(0.6, "share of the examples that takes part in a round")
    floor: float = key(0.25, "lowest chance, where it is below the share", ge=1e-6, le=1.0)
    until: Share = key(1.0, "share of the steps after which all take part")


class InfoBatchParameters(Section):
    """Of what is learned better than the mean a random part, which counts for more."""

    ratio: float = key(0.5, "share of them that is left out (r)", ge=0.0, le=0.999)
    until: Share = key(0.875, "share of the steps after which all take part (delta)")
    weights: bool = key(True, "whether those that are kept count 1/(1 - r)")


class SelectiveBackpropParameters(Section):
    """The likelier the more losses are smaller."""

    power: float = key(1.0, "the chance is that share to this power (beta)", ge=0.0, le=100.0)


class UCBParameters(Section):
    """Those with the highest running mean and variance of their losses."""

    share: Share = Kept
    confidence: float = key(1.0, "what the variance counts beside the mean (c)", ge=0.0, le=1e6)
    decay: Share = Decay


class EpsilonGreedyParameters(Section):
    """Those with the highest running mean of their losses, and some others."""

    share: Share = Kept
    epsilon: float = key(0.1, "share of them that is drawn from the others", ge=0.0, le=1.0)
    decay: Share = Decay


class OrderDPParameters(Section):
    """Of a random part those with the highest losses."""

    subset: Share = key(0.5, "the random part (s), a share of the training set")
    share: Share = key(0.5, "share of that part that takes part (q)")


class RCAPParameters(Section):
    """Each class's share by its loss, within it the likelier the higher the loss."""

    share: Share = Kept
    temperature: float = key(1.0, "of the losses within a class (beta)", ge=1e-3, le=1e6)


class SeTaParameters(Section):
    """Of a random part the clusters of losses that a moving window holds."""

    ratio: float = key(0.1, "share that is left out at random (r)", ge=0.0, le=0.999)
    clusters: int = key(5, "clusters of losses, by k-means", ge=1, le=1000)
    window: Share = key(0.9, "share of the clusters that takes part")
    until: Share = key(0.875, "share of the steps after which clusters do not count (delta)")


class ByRuleParameters(Section):
    """Random mini-batches of the examples that a rule takes, by the losses of training."""

    rule: RuleName = key("infobatch", "one of the groups below, each the rule of a paper")
    draw: Literal["without_replacement", "stratified_without_replacement"] = key(
        "without_replacement",
        "without_replacement, or with the share that each class has of a round as well",
    )
    label_noise: bool = key(
        False, "estimate label noise first; likely wrong labels then take part less often"
    )
    importance: ImportanceParameters = ImportanceParameters()
    infobatch: InfoBatchParameters = InfoBatchParameters()
    selective_backprop: SelectiveBackpropParameters = SelectiveBackpropParameters()
    ucb: UCBParameters = UCBParameters()
    epsilon_greedy: EpsilonGreedyParameters = EpsilonGreedyParameters()
    orderdp: OrderDPParameters = OrderDPParameters()
    rcap: RCAPParameters = RCAPParameters()
    seta: SeTaParameters = SeTaParameters()


def build(context: Context[ByRuleParameters]) -> Method:
    """Return the method for a run."""
    from crest.samplers.by_rule import ByRule
    from crest.samplers.label_quality import LabelQuality
    from crest.samplers.rules import build_rule

    parameters = context.parameters
    rule = build_rule(parameters.rule, flat(getattr(parameters, parameters.rule)))
    stratified = parameters.draw == "stratified_without_replacement"
    quality = LabelQuality(context, "by_rule.label_noise", parameters.label_noise)
    return ByRule(context, parameters.rule, rule, stratified, quality)


SPEC = MethodSpec(build, ByRuleParameters, scores_examples=False, outputs=True)
