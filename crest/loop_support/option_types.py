"""Types of the options of Coresets, for editors and checkers.

Written from the declarations in crest/methods by `python -m tests.parameters`.
"""

from typing import Literal, TypedDict


class FullOptions(TypedDict, total=False):
    """Options of full."""


class RandomOptions(TypedDict, total=False):
    """Options of random."""


class CrestOptions(TypedDict, total=False):
    """Options of crest."""

    proxy: str
    choice: str
    subset_size: float | int
    threshold: float
    interval_factor: float
    minibatch_factor: float
    subset_coresets: int
    selection: Literal["ahead", "on_demand"]
    outputs: Literal["fresh", "remembered"]
    draw: Literal[
        "independent", "stratified", "without_replacement", "stratified_without_replacement"
    ]
    label_noise: bool
    quadratic: str
    order: Literal[1, 2]
    region_loss: Literal["measured", "filtered"]
    gradient: Literal["coresets", "training"]
    gradient_smoothing: float
    curvature_smoothing: float
    hutchinson_draws: int
    curvature_minibatches: int | None
    curvature_interval: int
    focus: float
    focus_floor: float
    focus_ceiling: float | None
    focus_until: float
    focus_weights: bool
    learned_loss: float
    learned_window: int
    learned_floor: float | int


class SgdOptions(TypedDict, total=False):
    """Options of sgd."""


class LargeOptions(TypedDict, total=False):
    """Options of large."""

    factor: float


class StratifiedOptions(TypedDict, total=False):
    """Options of stratified."""


class FocusedOptions(TypedDict, total=False):
    """Options of focused."""

    draw: Literal["without_replacement", "stratified_without_replacement"]
    focus: float
    focus_floor: float
    focus_ceiling: float | None
    focus_until: float


class AdaptiveOptions(TypedDict, total=False):
    """Options of adaptive."""

    label_noise: bool
    onset: float
    exponent: float
    floor: float
    until: float


class ByRuleOptions(TypedDict, total=False):
    """Options of by_rule."""

    rule: Literal[
        "importance",
        "infobatch",
        "selective_backprop",
        "ucb",
        "epsilon_greedy",
        "orderdp",
        "rcap",
        "seta",
    ]
    draw: Literal["without_replacement", "stratified_without_replacement"]
    label_noise: bool
    importance_share: float
    importance_floor: float
    importance_until: float
    infobatch_ratio: float
    infobatch_until: float
    infobatch_weights: bool
    selective_backprop_power: float
    ucb_share: float
    ucb_confidence: float
    ucb_decay: float
    epsilon_greedy_share: float
    epsilon_greedy_epsilon: float
    epsilon_greedy_decay: float
    orderdp_subset: float
    orderdp_share: float
    rcap_share: float
    rcap_temperature: float
    seta_ratio: float
    seta_clusters: int
    seta_window: float
    seta_until: float


class SelectiveBackpropOptions(TypedDict, total=False):
    """Options of selective_backprop."""

    power: float
    history: int


class BatchSelectionOptions(TypedDict, total=False):
    """Options of batch_selection."""

    score_by: Literal["memory", "memory_and_proxy", "proxy", "model"]
    draw: Literal["without_replacement", "stratified_without_replacement"]
    keep: Literal[
        "stratified_importance",
        "importance",
        "gradient_share",
        "hardest",
        "facility_location",
        "spatially_stratified",
        "spatially_balanced",
    ]
    share: float
    lost: float
    start: float
    proxy_model_model: str
    proxy_model_interval: int
    proxy_model_lr: float


class GreedyOptions(TypedDict, total=False):
    """Options of greedy."""

    proxy: str
    choice: str
    subset_size: float | int
    learned_loss: float
    learned_window: int
    learned_floor: float | int


class CraigOptions(TypedDict, total=False):
    """Options of craig."""

    proxy: str
    coreset_size: float | int
    passes: int
    per_class: bool
    group_size: int


class GradmatchOptions(TypedDict, total=False):
    """Options of gradmatch."""

    proxy: str
    coreset_size: float | int
    passes: int
    per_class: bool
    group_size: int
    regularisation: float


class GlisterOptions(TypedDict, total=False):
    """Options of glister."""

    coreset_size: float | int
    passes: int
    per_class: bool
    validation: float
    gradient_updates: int
    step_size: float


class Options(TypedDict, total=False):
    """Keyword arguments of Coresets.

    Those of the chosen method stand alone; those of several methods go by the methods'
    names, as the sections of params.yaml.
    """

    proxy: str
    choice: str
    subset_size: float | int
    threshold: float
    interval_factor: float
    minibatch_factor: float
    subset_coresets: int
    selection: Literal["ahead", "on_demand"]
    outputs: Literal["fresh", "remembered"]
    draw: Literal[
        "independent", "stratified", "without_replacement", "stratified_without_replacement"
    ]
    label_noise: bool
    quadratic: str
    order: Literal[1, 2]
    region_loss: Literal["measured", "filtered"]
    gradient: Literal["coresets", "training"]
    gradient_smoothing: float
    curvature_smoothing: float
    hutchinson_draws: int
    curvature_minibatches: int | None
    curvature_interval: int
    focus: float
    focus_floor: float
    focus_ceiling: float | None
    focus_until: float
    focus_weights: bool
    learned_loss: float
    learned_window: int
    learned_floor: float | int
    factor: float
    onset: float
    exponent: float
    floor: float
    until: float
    rule: Literal[
        "importance",
        "infobatch",
        "selective_backprop",
        "ucb",
        "epsilon_greedy",
        "orderdp",
        "rcap",
        "seta",
    ]
    importance_share: float
    importance_floor: float
    importance_until: float
    infobatch_ratio: float
    infobatch_until: float
    infobatch_weights: bool
    selective_backprop_power: float
    ucb_share: float
    ucb_confidence: float
    ucb_decay: float
    epsilon_greedy_share: float
    epsilon_greedy_epsilon: float
    epsilon_greedy_decay: float
    orderdp_subset: float
    orderdp_share: float
    rcap_share: float
    rcap_temperature: float
    seta_ratio: float
    seta_clusters: int
    seta_window: float
    seta_until: float
    power: float
    history: int
    score_by: Literal["memory", "memory_and_proxy", "proxy", "model"]
    keep: Literal[
        "stratified_importance",
        "importance",
        "gradient_share",
        "hardest",
        "facility_location",
        "spatially_stratified",
        "spatially_balanced",
    ]
    share: float
    lost: float
    start: float
    proxy_model_model: str
    proxy_model_interval: int
    proxy_model_lr: float
    coreset_size: float | int
    passes: int
    per_class: bool
    group_size: int
    regularisation: float
    validation: float
    gradient_updates: int
    step_size: float

    full: FullOptions
    random: RandomOptions
    crest: CrestOptions
    sgd: SgdOptions
    large: LargeOptions
    stratified: StratifiedOptions
    focused: FocusedOptions
    adaptive: AdaptiveOptions
    by_rule: ByRuleOptions
    selective_backprop: SelectiveBackpropOptions
    batch_selection: BatchSelectionOptions
    greedy: GreedyOptions
    craig: CraigOptions
    gradmatch: GradmatchOptions
    glister: GlisterOptions
