"""Parameters: one frozen, strict model for each section of params.yaml.

An unknown key, a wrong type or a value out of range is a :class:`ParameterError` that names the
key. Values that depend on the data (a subset larger than the training set, say) are checked where
the data is known.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from crest.errors import ParameterError
from crest.files.yaml_text import NotYAMLError, UnreadableError, parse_yaml, read_text
from crest.parameters.types import (
    ArtifactName,
    Columns,
    Count,
    CountOrZero,
    Device,
    Draw,
    Factor,
    Models,
    Names,
    NonNegative,
    Order,
    Positive,
    Seconds,
    Section,
    Seed,
    Share,
    ShareOrCount,
)


class PrepareParameters(Section):
    """prepare: which data set, from where, and how it becomes arrays."""

    dataset: str = "digits"
    source: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    validation_split: str | None = None
    text_columns: Columns | None = None
    tokenizer: str | None = None
    max_length: Annotated[int, Field(ge=4, lt=2**31)] = 128
    classes: Annotated[int, Field(ge=2)] | None = None
    image_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    validation: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    seed: Seed = 0
    workers: Count | None = None


class TrainParameters(Section):
    """train: model, budget, optimiser and schedule, the same for every method."""

    methods: Annotated[Names, Field(min_length=1)] = ("crest", "random", "full")
    model: str = "convnet"
    stem: Literal["cifar", "imagenet"] = "cifar"
    epochs: Annotated[float, Field(gt=0.0, le=1e6)] = 60.0
    budget: Share = 0.1
    batch_size: Count = 32
    micro_batches: Count | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.1
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    nesterov: bool = False
    weight_decay: NonNegative = 5e-4
    schedule: Literal["steps", "cosine", "linear"] = "cosine"
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    clip_norm: Positive | None = None
    activation_checkpointing: bool = False
    cuda_graph: bool = True
    augment_crop: CountOrZero = 0
    augment_flip: bool = False
    seed: Seed = 0
    precision: Literal["auto", "float32", "bf16"] = "auto"
    device: Device = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    process_timeout: Seconds = 45.0
    launch: str = "python"
    save_interval: NonNegative = 60.0
    validations: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    snapshots: Annotated[int, Field(ge=0, le=10_000)] = 0

    @field_validator("nesterov")
    @classmethod
    def _nesterov_needs_momentum(cls, nesterov: bool, others: ValidationInfo) -> bool:
        if nesterov and others.data.get("momentum") == 0.0:
            raise ValueError("needs a train.momentum above 0")
        return nesterov


def _needs_focus(ceiling: float | None, others: ValidationInfo) -> float | None:
    """Refuse a ceiling where nothing is focused on."""
    if ceiling is not None and others.data.get("focus") == 0.0:
        raise ValueError("needs a focus above 0; without one all come alike")
    return ceiling


class FullParameters(Section):
    """full: training on everything for all steps; nothing to set."""


class RandomParameters(Section):
    """random: fresh random mini-batches under the compressed schedule; nothing to set."""


class CrestParameters(Section):
    """crest: the paper's symbols are in brackets in params.yaml; the defaults are its values."""

    proxy: str = "logits"
    choice: str = "facility_location"
    quadratic: str = "full"
    order: Order = 2
    subset_size: ShareOrCount = 0.01
    threshold: Positive = 0.05
    interval_factor: Factor = 1.0
    minibatch_factor: Annotated[float, Field(gt=0.0, le=1000.0)] = 5.0
    gradient_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    curvature_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    hutchinson_draws: Count = 1
    selection: Literal["ahead", "as_used"] = "ahead"
    looks: Literal["fresh", "remembered"] = "fresh"
    draw: Draw = "independent"
    focus: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0
    focus_floor: Share = 0.25
    focus_ceiling: Positive | None = None
    focus_until: Share = 1.0
    focus_weights: bool = False
    subset_coresets: Count = 1
    curvature_minibatches: Count | None = None
    curvature_interval: CountOrZero = 0
    gradient: Literal["coresets", "training"] = "coresets"
    region_loss: Literal["measured", "filtered"] = "measured"
    learned_loss: NonNegative = 0.1
    learned_window: CountOrZero = 20
    learned_floor: ShareOrCount = 0.1

    @field_validator("looks")
    @classmethod
    def _memory_is_of_the_moment(cls, looks: str, others: ValidationInfo) -> str:
        if looks == "remembered" and others.data.get("selection") == "ahead":
            raise ValueError("remembered needs crest.selection: as_used")
        return looks

    @field_validator("focus")
    @classmethod
    def _focus_needs_rounds(cls, focus: float, others: ValidationInfo) -> float:
        if focus > 0.0 and others.data.get("draw") in ("independent", "stratified"):
            raise ValueError("above 0 needs crest.draw: rounds or stratified_rounds")
        return focus

    _ceiling_needs_focus = field_validator("focus_ceiling")(_needs_focus)


class CrestOptions(TypedDict, total=False):
    """The parameters of :class:`CrestParameters` as keyword arguments, for editors and checkers."""

    proxy: str
    choice: str
    quadratic: str
    order: Literal[1, 2]
    subset_size: float | int
    threshold: float
    interval_factor: float
    minibatch_factor: float
    gradient_smoothing: float
    curvature_smoothing: float
    hutchinson_draws: int
    selection: Literal["ahead", "as_used"]
    looks: Literal["fresh", "remembered"]
    draw: Draw
    focus: float
    focus_floor: float
    focus_ceiling: float | None
    focus_until: float
    focus_weights: bool
    subset_coresets: int
    curvature_minibatches: int | None
    curvature_interval: int
    gradient: Literal["coresets", "training"]
    region_loss: Literal["measured", "filtered"]
    learned_loss: float
    learned_window: int
    learned_floor: float | int


class ReplayParameters(Section):
    """replay: train on saved coresets."""

    coresets: str = "artifacts/train/crest"


class SgdParameters(Section):
    """sgd: full training cut off when the budget is spent; nothing to set."""


class LargeParameters(Section):
    """large: random mini-batches, so many times larger."""

    factor: Factor = 2.0


class StratifiedParameters(Section):
    """stratified: random mini-batches in which every class has its share; nothing to set."""


class FocusedParameters(Section):
    """focused: random mini-batches, learned examples less often, until a share of the steps."""

    draw: Literal["rounds", "stratified_rounds"] = "stratified_rounds"
    focus: Annotated[float, Field(ge=0.0, le=100.0)] = 0.5
    focus_floor: Share = 0.25
    focus_ceiling: Positive | None = None
    focus_until: Share = 0.85

    _ceiling_needs_focus = field_validator("focus_ceiling")(_needs_focus)


class GreedyParameters(Section):
    """greedy: a fresh mini-batch coreset for every step; the keys are those of crest."""

    proxy: str = "logits"
    choice: str = "facility_location"
    subset_size: ShareOrCount = 0.01
    learned_loss: NonNegative = 0.1
    learned_window: CountOrZero = 20
    learned_floor: ShareOrCount = 0.1


class CraigParameters(Section):
    """craig: medoids of a share of the training set, weighted by the examples they stand for."""

    proxy: str = "logits"
    coreset_size: ShareOrCount = 0.1
    passes: Count = 1
    per_class: bool = True
    group_size: Count = 5000


class GradmatchParameters(Section):
    """gradmatch: weighted gradients of a share of the training set whose sum is that of all."""

    proxy: str = "own_weights"
    coreset_size: ShareOrCount = 0.1
    passes: Count = 1
    per_class: bool = True
    group_size: Count = 5000
    regularisation: NonNegative = 0.5


class GlisterParameters(Section):
    """glister: examples whose gradient step helps most those held out of the training set."""

    coreset_size: ShareOrCount = 0.1
    passes: Count = 1
    per_class: bool = False
    validation: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    rounds: Count = 20
    step_size: Positive = 1.0


class EvaluateParameters(Section):
    """evaluate: a trained model on the test split."""

    batch_size: Count | None = None


class AnalyzeParameters(Section):
    """analyze: which examples were chosen, when, and how hard they were."""

    scores_from: ArtifactName = "full"
    gradient_sample: Count = 10_000
    gradient_draws: Annotated[int, Field(ge=2, lt=2**31)] = 24


class ReuseParameters(Section):
    """reuse: other models trained on saved coresets."""

    coresets: str = "artifacts/train/crest"
    models: Models = ()


class ReportParameters(Section):
    """report: the comparison table and the pictures."""

    title: str = "CREST report"


class Parameters(Section):
    """Everything params.yaml holds, one field a section."""

    prepare: PrepareParameters = PrepareParameters()
    train: TrainParameters = TrainParameters()
    full: FullParameters = FullParameters()
    random: RandomParameters = RandomParameters()
    crest: CrestParameters = CrestParameters()
    replay: ReplayParameters = ReplayParameters()
    sgd: SgdParameters = SgdParameters()
    large: LargeParameters = LargeParameters()
    stratified: StratifiedParameters = StratifiedParameters()
    focused: FocusedParameters = FocusedParameters()
    greedy: GreedyParameters = GreedyParameters()
    craig: CraigParameters = CraigParameters()
    gradmatch: GradmatchParameters = GradmatchParameters()
    glister: GlisterParameters = GlisterParameters()
    evaluate: EvaluateParameters = EvaluateParameters()
    analyze: AnalyzeParameters = AnalyzeParameters()
    reuse: ReuseParameters = ReuseParameters()
    report: ReportParameters = ReportParameters()


def count_of(share_or_count: float | int, examples: int) -> int:
    """Return a share of the examples, or a count, as a count of at least 1."""
    if isinstance(share_or_count, float):
        return max(1, round(share_or_count * examples))
    return share_or_count


def subset_size(parameters: CrestParameters, examples: int, batch_size: int) -> int:
    """Return r in examples; it must hold a mini-batch and fit into the training set."""
    size = fitting("crest.subset_size", parameters.subset_size, examples, batch_size)
    if size < parameters.subset_coresets * batch_size:
        raise ParameterError(
            f"crest.subset_coresets: {parameters.subset_coresets} mini-batches of "
            f"{batch_size} examples, all different, do not fit into subsets of {size}; "
            "lower it or raise crest.subset_size"
        )
    return size


def fitting(key: str, share_or_count: float | int, examples: int, batch_size: int) -> int:
    """Return a share of the examples, or a count, as a count between a mini-batch and all of them.

    ``key`` names the parameter in the :class:`ParameterError` of one that is not.
    """
    size = count_of(share_or_count, examples)
    given = f"{key}: {share_or_count} is {size} of {examples} examples"
    if size < batch_size:
        raise ParameterError(f"{given}, less than train.batch_size ({batch_size}); make it larger")
    if size > examples:
        raise ParameterError(f"{given}; make it smaller")
    return size


def load(path: Path, overrides: Sequence[str] = ()) -> Parameters:
    """Read and check a parameter file.

    Parameters
    ----------
    path
        A YAML file with the sections of :class:`Parameters`; absent keys take their defaults.
    overrides
        ``section.key=value`` strings, the value in YAML, applied after the file.

    Raises
    ------
    ParameterError
        If the file cannot be read, or a key is unknown, of the wrong type or out of range.
    """
    values = _read(path)
    for override in overrides:
        _apply(values, override)
    return parse(values, f"{path} with -S" if overrides else str(path))


def parse(values: Mapping[str, Any], where: str) -> Parameters:
    """Check a mapping of sections; ``where`` names it in errors."""
    sections = {name: {} if section is None else section for name, section in values.items()}
    try:
        return Parameters.model_validate(sections)
    except ValidationError as error:
        raise ParameterError(_explain(error, where)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(read_text(path))
    except FileNotFoundError:
        raise ParameterError(
            f"{path}: no such parameter file; run in the project folder or name one with --params"
        ) from None
    except UnreadableError as error:
        raise ParameterError(f"{path}: cannot be read: {error}") from None
    except NotYAMLError as error:
        raise ParameterError(f"{path}: not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ParameterError(f"{path}: must hold sections such as 'train:', not {values!r:.60}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value`` in place."""
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    shown = override if len(override) <= 80 else f"{override:.79}…"
    if not (equals and dot and section and name):
        raise ParameterError(f"-S {shown}: write it as section.key=value, e.g. train.budget=0.2")
    try:
        value = parse_yaml(text)
    except NotYAMLError as error:
        raise ParameterError(
            f"-S {shown}: the value {text!r:.60} is not valid YAML: {error}"
        ) from None
    if values.get(section) is None:
        values[section] = {}
    if not isinstance(values[section], dict):
        raise ParameterError(f"-S {shown}: '{section}' is not a section of keys")
    values[section][name] = value


# What pydantic says in terms of Python.
_MESSAGES = {
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "string_type": "must be text",
    "tuple_type": "must be a list, such as [crest, random]",
    "model_type": "must be a section of keys",
    "invalid_key": "must be named by text",
    "too_short": "must list at least one",
}


def _explain(error: ValidationError, where: str) -> str:
    """Say every fault of a parameter file, a line each, with the key it lies in."""
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            message = f"unknown key{_suggestion(key)}"
        else:
            plain = fault["msg"].removeprefix("Value error, ").replace("Input should", "must")
            message = f"{_MESSAGES.get(fault['type'], plain)}, got {fault['input']!r:.60}"
        lines.append(" ".join(f"{where}: {key}: {message}".split()))
    return "\n".join(lines)


def _suggestion(key: str) -> str:
    """Name the nearest known key, or section for the name of a section."""
    known = list(Parameters.model_fields)
    elsewhere: list[str] = []
    if "." in key:
        known = [
            f"{section}.{name}"
            for section, field in Parameters.model_fields.items()
            for name in type(field.default).model_fields
        ]
        elsewhere = [name for name in known if name.endswith("." + key.rpartition(".")[2])]
    close = elsewhere or get_close_matches(key, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
