"""Tiny cases that many tests share: separable images, a small model, a context."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from crest.config import Parameters, parse
from crest.data.augment import Augmentation, nothing_drawn
from crest.data.files import SCHEMA_VERSIONS, ImageMeta
from crest.data.prepared import ImageSplit
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.methods import METHODS
from crest.models import build
from crest.parameters.section import nested
from crest.samplers.base import Context

CPU = torch.device("cpu")
FLOAT32 = Precision("float32", CPU)
CLASSES = 3


def image_split(
    examples: int = 240, seed: int = 0, augmentation: Augmentation | None = None
) -> ImageSplit:
    """8x8 grey images whose brightness tells the class, with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(examples) % CLASSES
    noise = torch.randint(0, 120, (examples, 8, 8, 1), generator=generator)
    images = (noise + 60 * labels[:, None, None, None]).to(torch.uint8)
    mean, std = torch.tensor([0.45]), torch.tensor([0.25])
    return ImageSplit(images, labels, mean, std, CPU, augmentation or Augmentation())


def image_meta() -> ImageMeta:
    """What the images of :func:`image_split` would say of themselves."""
    return ImageMeta(
        schema_version=SCHEMA_VERSIONS["image"],
        kind="image",
        dataset="made",
        source="tests",
        sizes={"train": 240, "test": 240},
        classes=[str(number) for number in range(CLASSES)],
        image_shape=[8, 8, 1],
        mean=[0.45],
        std=[0.25],
        content_hash="0" * 64,
    )


def convnet(seed: int = 0) -> nn.Module:
    return build("convnet", classes=CLASSES, image_shape=(8, 8, 1), stem="cifar", seed=seed)


def parameters(**sections: dict[str, object]) -> Parameters:
    defaults: dict[str, dict[str, object]] = {
        "train": {"batch_size": 8, "precision": "float32", "device": "cpu", "epochs": 10},
        "crest": {"subset_size": 32},
        "greedy": {"subset_size": 32},
    }
    names = defaults.keys() | sections.keys()
    merged = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in names}
    return parse({name: in_groups(name, values) for name, values in merged.items()}, "test")


def in_groups(section: str, values: dict[str, object]) -> dict[str, object]:
    """Keys of a method by what they are called as options."""
    return nested(METHODS[section].parameters, values) if section in METHODS else values


def digits_parameters(**sections: dict[str, object]) -> Parameters:
    """A run of seconds on the bundled digits: 10 steps, of 41 for full training."""
    defaults: dict[str, dict[str, object]] = {
        "train": {"precision": "float32", "device": "cpu", "threads": 1, "epochs": 1},
        "crest": {"subset_size": 64, "threshold": 0.2, "minibatch_factor": 2.0},
        "greedy": {"subset_size": 64},
    }
    defaults["train"] |= {"budget": 0.25, "validations": 2, "augment_crop": 1}
    names = defaults.keys() | sections.keys()
    merged = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in names}
    return parse({name: in_groups(name, values) for name, values in merged.items()}, "test")


@dataclass(frozen=True, kw_only=True)
class Given(Context[Any]):
    """A context, and the parameters of all sections."""

    settings: Parameters

    def of(self, method: str) -> "Given":
        """The same for another method."""
        return replace(self, parameters=self.settings.of_method(method))


def context(
    model: nn.Module | None = None,
    split: ImageSplit | None = None,
    steps: int = 30,
    method: str = "crest",
    **sections: dict[str, object],
) -> "Given":
    """What a method is given: the first that has a section, or else the one that is named."""
    settings = parameters(**sections)
    named = next((name for name in sections if name in METHODS), method)
    return Given(
        model=model or convnet(),
        train=split or image_split(),
        steps=steps,
        batch_size=settings.train.batch_size,
        precision=FLOAT32,
        generator=generator_for(settings.train.seed, "method"),
        parameters=settings.of_method(named),
        settings=settings,
    )


@dataclass
class LinearSplit:
    """Plain feature vectors as a split, for closed forms."""

    features: Tensor
    labels: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> Tensor:
        return self.features[indices]

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        return nothing_drawn(count)

    def views(self, indices: Tensor, draws: Tensor) -> Tensor:
        return self.features[indices]


def linear_split(examples: int = 60, features: int = 4, seed: int = 0) -> LinearSplit:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(examples, features, generator=generator)
    return LinearSplit(values, torch.arange(examples) % CLASSES)


def linear_model(features: int = 4, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(features, CLASSES)
