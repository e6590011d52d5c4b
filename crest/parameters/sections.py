"""The sections of stages; those of methods are declared with the methods, in crest/methods.

Values that depend on the data (a subset larger than the training set, say) are checked where the
data is known.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from crest.parameters.section import Section, key
from crest.parameters.types import (
    Alpha,
    ArtifactName,
    Columns,
    Count,
    CountOrZero,
    Device,
    Factor,
    Models,
    Names,
    NonNegative,
    Positive,
    Scale,
    Seconds,
    Seed,
    Seeds,
    Share,
    Smoothing,
    Trackers,
)


class PrepareParameters(Section):
    """Which data set, from where, and how it becomes arrays."""

    dataset: str = key(
        "digits", "digits, cifar10, cifar100, tinyimagenet, parquet, folder, listed, snli, text"
    )
    source: str | None = key(
        None,
        "a folder, hf://datasets/OWNER/NAME, torchvision, torchvision:FOLDER; of listed: a file; "
        "digits needs none",
    )
    image_column: str | None = key(None, "column of the images; null: what the data set calls it")
    label_column: str | None = key(None, "column of the labels; null: what the data set calls it")
    split_column: str | None = key(
        None, "of listed: column of the splits' names; null: split, if there is one"
    )
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
    fit: Literal["crop", "squeeze"] = key(
        "crop",
        "what image_size does to images that are not square: crop (the shorter side becomes it, "
        "the middle is kept), squeeze (all of it, its aspect is not kept)",
    )
    storage: Literal["pixels", "encoded"] | None = key(
        None,
        "pixels (of image_size), encoded (the images' own files, decoded when used); null: encoded "
        "from an image_size of 128 on",
    )
    encoded_side: Annotated[int, Field(ge=1, le=10_000)] | None = key(
        None,
        "of encoded storage: images whose shorter side is longer are made so many pixels and saved "
        "as JPEG of quality 95; null: as they are",
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
        "classifier, timm/NAME, OWNER/NAME or a folder; of text: one of transformers",
    )
    weights: str | None = key(
        None,
        "what it starts from: pretrained, a name such as IMAGENET1K_V2, a .safetensors file, "
        "random; null: those of a repository or folder, else random",
    )
    input_size: Annotated[int, Field(ge=1, le=10_000)] | None = key(
        None,
        "pixels a side that the network takes: prepared images are resized to it, and random crops "
        "of larger ones; null: as they are",
    )
    freeze: Literal["none", "backbone"] = key(
        "none",
        "backbone: only the head is trained, on what the rest makes of the images in eval mode",
    )
    head_lr_factor: Factor = key(1.0, "learning rate of the head, as a multiple of lr")
    layer_decay: Share = key(
        1.0, "each block's learning rate, as a share of the next one's towards the head"
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
    decayed: Literal["auto", "all", "matrices"] = key(
        "auto",
        "what decays: all, matrices (no norms and biases); auto: all of sgd, matrices of adamw",
    )
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
    compile: bool = key(
        False,
        "a step of images goes through torch.compile: a minute or more before the first step, less "
        "time for each; needs a C++ compiler",
    )
    augment_crop: CountOrZero = key(0, "pixels of padding for random crops, 0 for none")
    augment_flip: bool | Literal["alternating"] = key(
        False,
        "random horizontal flips; alternating: random at first, then every other time that an "
        "example is trained on",
    )
    augment_scale: Scale | None = key(
        None,
        "random resized crops: least and greatest share of an image's area, [0.08, 1.0]; null: "
        "none",
    )
    augment_policy: Literal["trivialaugment", "randaugment"] | None = key(
        None, "trivialaugment (wide), randaugment; null: none"
    )
    randaugment_operations: Annotated[int, Field(ge=1, le=14)] = key(
        2, "operations that an image goes through"
    )
    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)] = key(
        9, "of all operations, from 0 to 30"
    )
    augment_color: float = key(
        0.0, "brightness, contrast and saturation differ from 1 by up to this; 0: none", ge=0, le=10
    )
    augment_hue: float = key(
        0.0, "greatest turn of hues, a share of the circle; 0: none", ge=0.0, le=0.5
    )
    augment_erasing: float = key(
        0.0, "chance that a rectangle of an image is erased; 0: none", ge=0.0, le=1.0
    )
    mixup: Alpha = key(
        0.0, "images are mixed in pairs, by shares of Beta(mixup, mixup); 0.2 is usual; 0: none"
    )
    cutmix: Alpha = key(
        0.0,
        "a box of each image is another's, its size by Beta(cutmix, cutmix); 1.0 is usual; with "
        "mixup each mini-batch has one of the two; 0: none",
    )
    label_smoothing: Smoothing = key(
        0.0, "share of a label that all classes have alike; 0.1 is usual; 0: none"
    )
    ema_decay: float = key(
        0.0,
        "of the averaged weights (EMA), which then are evaluated and saved; 0.999 is usual; 0: "
        "none",
        ge=0.0,
        lt=1.0,
    )
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

    @field_validator("augment_scale")
    @classmethod
    def _crops_are_padded_or_resized(cls, scale: Any, others: ValidationInfo) -> Any:
        if scale is not None and others.data.get("augment_crop"):
            raise ValueError("crops are either resized or padded; set train.augment_crop to 0")
        return scale

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


class EmbedParameters(Section):
    """What a pretrained model's backbone makes of every example, and what that says of them."""

    models: Models = key((), "what `dvc repro` embeds with: as train.model; those from the library")
    dtype: Literal["float16", "float32"] = key("float16", "of the arrays: float16, float32")
    neighbours: Count = key(10, "nearest neighbours that are compared")
    duplicate: float = key(
        0.95, "cosine of two examples from which one is called a copy", gt=0.0, le=1.0
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
