"""The sections of stages; those of methods are declared with the methods, in crest/methods.

Values that depend on the data (a subset larger than the training set, say) are checked where the
data is known.
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from crest.parameters.section import Section, key
from crest.parameters.types import (
    ArtifactName,
    Columns,
    Count,
    CountOrZero,
    Device,
    Models,
    Names,
    NonNegative,
    Positive,
    Seconds,
    Seed,
    Seeds,
    Share,
    Trackers,
)


class PrepareParameters(Section):
    """Which data set, from where, and how it becomes arrays."""

    dataset: str = key(
        "digits", "digits, cifar10, cifar100, tinyimagenet, parquet, folder, snli, text"
    )
    source: str | None = key(
        None,
        "a folder, hf://datasets/OWNER/NAME, torchvision, torchvision:FOLDER; digits needs none",
    )
    image_column: str | None = key(None, "column of the images; null: what the data set calls it")
    label_column: str | None = key(None, "column of the labels; null: what the data set calls it")
    train_split: str | None = key(
        None, "name of the training split; null: what the data set calls it"
    )
    test_split: str | None = key(
        None,
        "name of the test split; null: what the data set calls it, else its validation split",
    )
    validation_split: str | None = key(
        None,
        "name of the validation split; null: a share of train is held out (validation)",
    )
    text_columns: Columns | None = key(
        None,
        "of text: one or two columns, [premise, hypothesis]; null: what the data set calls them",
    )
    tokenizer: str | None = key(
        None,
        "text needs one: the name or folder of a model of transformers, usually train.model",
    )
    max_length: int = key(128, "tokens that a text or a pair of texts is cut to", ge=4, lt=2**31)
    classes: Annotated[int, Field(ge=2)] | None = key(
        None,
        "the first so many classes, of which some may have no example; null: those that the source "
        "or the data set names, else those of train",
    )
    image_size: Annotated[int, Field(ge=1, le=10_000)] | None = key(
        None, "pixels a side to resize to; null: as they are, all of one size"
    )
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] | None = key(
        None,
        "share of train held out for test, whatever test split there is; null: 0.1 where there is "
        "none",
    )
    validation: float = key(
        0.1,
        "share of the training split held out for the curves, 0 for none",
        ge=0.0,
        lt=1.0,
    )
    seed: Seed = key(0, "draws the held-out examples")
    workers: Count | None = key(
        None, "decoding threads; null: one a core. The result does not depend on it"
    )


class TrainParameters(Section):
    """Model, budget, optimiser and schedule, for every method; results depend on every key."""

    model: str = key(
        "convnet",
        "convnet, resnet8, resnet20, resnet20_gn (GroupNorm), resnet18, resnet50, a torchvision "
        "classifier; of text: one of transformers",
    )
    stem: Literal["cifar", "imagenet"] = key(
        "cifar", "first layers of resnet18 and resnet50: cifar (small images) or imagenet"
    )
    epochs: float = key(60.0, "of full training", gt=0.0, le=1e6)
    budget: Share = key(0.1, "share of full training's steps that the other methods take")
    batch_size: Count = key(32, "mini-batch size (m)")
    micro_batches: Count | None = key(
        None,
        "parts that a mini-batch goes through the model in (gradient accumulation); null: one for "
        "each process",
    )
    optimizer: Literal["sgd", "adamw"] = key("sgd", "sgd, adamw")
    lr: Positive = key(0.1, "highest learning rate")
    momentum: float = key(0.9, "of sgd; of adamw its first beta", ge=0.0, lt=1.0)
    nesterov: bool = key(False, "of sgd")
    weight_decay: NonNegative = key(5e-4, "of the weights, in every step")
    schedule: Literal["steps", "cosine", "linear"] = key(
        "cosine",
        "cosine, linear: down to 0; steps: x0.1 at 60% and at 85% of the steps, as in the paper",
    )
    horizon: Literal["budget", "full"] = key(
        "budget",
        "steps that schedule is laid out over: the run's own, or those of full training, which the "
        "budget cuts off",
    )
    warmup: float = key(
        0.1, "share of the steps over which the learning rate rises to lr", ge=0.0, lt=1.0
    )
    clip_norm: Positive | None = key(None, "greatest norm of a step's gradient; null: not clipped")
    activation_checkpointing: bool = key(
        False,
        "computes activations again in the backward pass: less memory, more time, the same result",
    )
    cuda_graph: bool = key(
        True,
        "on a GPU, launches a step's kernels together: small models of images train in a fraction "
        "of the time",
    )
    augment_crop: CountOrZero = key(0, "pixels of padding for random crops, 0 for none")
    augment_flip: bool = key(False, "random horizontal flips")
    seed: Seed = key(0, "draws the initial weights, the mini-batches and the augmentation")
    precision: Literal["auto", "float32", "bf16"] = key(
        "auto", "auto (bf16 where the processor has it), float32, bf16"
    )
    device: Device = key("auto", "auto (cuda if there is one), cpu, cuda, cuda:1")
    threads: Annotated[int, Field(ge=1, le=1024)] | None = key(
        None,
        "processor threads; null: one a core. A model as small as convnet is no faster on more",
    )
    validations: int = key(20, "points of the validation curve", ge=0, le=1_000_000)
    snapshots: int = key(
        0,
        "points at which the weights are kept, for analyze to measure gradients at; 0: none",
        ge=0,
        le=10_000,
    )

    @field_validator("nesterov")
    @classmethod
    def _nesterov_needs_momentum(cls, nesterov: bool, others: ValidationInfo) -> bool:
        if nesterov and others.data.get("momentum") == 0.0:
            raise ValueError("needs a train.momentum above 0")
        return nesterov


class RunParameters(Section):
    """What is run, and how; no result depends on it."""

    methods: Annotated[Names, Field(min_length=1)] = key(
        ("crest", "random", "full"), "what `dvc repro` trains with; docs/methods.md lists them"
    )
    seeds: Seeds = key(
        (),
        "further seeds that each method is trained and evaluated with, a list without train.seed; "
        "report then has means, deviations and differences",
    )
    launch: str = key(
        "python",
        "what `dvc repro` starts train with; on two GPUs: torchrun --standalone --nproc-per-node=2",
    )
    process_timeout: Seconds = key(
        45.0,
        "seconds after which one of several processes that does not answer is taken for lost",
    )
    save_interval: NonNegative = key(
        60.0, "seconds between saved states of a run; never more than 1% of its time"
    )
    track: Trackers = key(
        (),
        "where the curves go as a run goes, any of dvclive, tensorboard, mlflow, wandb; their "
        "points are train.validations",
    )


class EvaluateParameters(Section):
    """A trained model on the test split."""

    batch_size: Count | None = key(None, "examples per forward pass; null: what suits the device")


class AnalyzeParameters(Section):
    """Which examples were chosen, when, and how hard they were."""

    scores_from: ArtifactName = key("full", "method whose run the forgetting events are counted in")
    gradient_sample: Count = key(
        10_000,
        "most examples that stand for all of them where gradients are measured (train.snapshots)",
    )
    gradient_draws: int = key(
        24,
        "random subsets, and mini-batch coresets of as many, whose gradients are compared",
        ge=2,
        lt=2**31,
    )


class ReuseParameters(Section):
    """Other models trained on saved coresets."""

    coresets: str = key("artifacts/train/crest", "what to train on")
    models: Models = key((), "models trained on it: as train.model, OWNER/NAME too")


class ReportParameters(Section):
    """The comparison table and the pictures."""

    title: str = key("CREST report", "of report.html")
