"""Models by name: of images, and of text.

Models of images start from seeded random weights, models of text from pretrained ones.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import torch
from torch import nn

from crest.data.files import ImageMeta, Meta
from crest.devices.generators import torch_seed
from crest.errors import ParameterError, nearest
from crest.models.convnet import convnet
from crest.models.head import features_and_logits
from crest.models.proxynet import proxynet
from crest.models.resnet8 import resnet8
from crest.models.resnet20 import resnet20, resnet20_gn
from crest.models.text import TextModelSpec
from crest.parameters.sections import TrainParameters

Builder = Callable[[int, Sequence[int], str], nn.Module]
"""From the number of classes, the image shape (H, W, C) and the stem to a model."""

STEMS = ("cifar", "imagenet")


class Spec(Protocol):
    """What it takes to build a model, all but its weights; ``str`` of it names it in messages."""

    @property
    def name(self) -> str:
        """The value of train.model."""
        ...

    def fresh(self, seed: int) -> nn.Module:
        """Return the model as training starts from it, on the CPU and in train mode."""
        ...

    def empty(self) -> nn.Module:
        """Return the model with weights of no meaning, for a file's to be copied into."""
        ...

    def misfit(self, meta: Meta) -> str | None:
        """Say why the model is none for these prepared data; None if it is one."""
        ...

    def metadata(self) -> dict[str, str]:
        """Return the spec as safetensors stores it, with its ``kind``."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """What it takes to build a model of images.

    Attributes
    ----------
    name
        A key of :data:`MODELS` or the name of a torchvision classifier.
    classes
        Number of logits.
    image_shape
        Height, width and channels of the images it takes.
    stem
        ``'cifar'`` or ``'imagenet'``: how a residual network starts.
    """

    name: str
    classes: int
    image_shape: tuple[int, int, int]
    stem: str = "cifar"

    @classmethod
    def for_data(cls, settings: TrainParameters, meta: Meta) -> "ModelSpec":
        """Return the spec of train.model for prepared images."""
        assert isinstance(meta, ImageMeta)
        height, width, channels = meta.image_shape
        return cls(settings.model, len(meta.classes), (height, width, channels), settings.stem)

    def fresh(self, seed: int) -> nn.Module:
        """Return the model with random weights; raises as :func:`build` does."""
        return build(
            self.name,
            classes=self.classes,
            image_shape=self.image_shape,
            stem=self.stem,
            seed=seed,
        )

    def empty(self) -> nn.Module:
        """Return the model with random weights."""
        return self.fresh(seed=0)

    def misfit(self, meta: Meta) -> str | None:
        """Say why the model is none for these prepared data; None if it is one."""
        if not isinstance(meta, ImageMeta):
            return "a model of images; the prepared data are text"
        found = (self.classes, list(self.image_shape))
        expected = (len(meta.classes), meta.image_shape)
        if found == expected:
            return None
        return (
            f"a model of {found[0]} classes and images {found[1]}; the prepared data have "
            f"{expected[0]} classes and images {expected[1]}"
        )

    def metadata(self) -> dict[str, str]:
        """Return the spec as safetensors stores it: text to text."""
        return {
            "kind": "image",
            "model": self.name,
            "classes": str(self.classes),
            "image_shape": json.dumps(self.image_shape),
            "stem": self.stem,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelSpec":
        """Return the spec that :meth:`metadata` stored; KeyError or ValueError if it cannot be."""
        height, width, channels = (int(size) for size in json.loads(metadata["image_shape"]))
        classes = int(metadata["classes"])
        return cls(metadata["model"], classes, (height, width, channels), metadata["stem"])

    def __str__(self) -> str:
        height, width, channels = self.image_shape
        return (
            f"{self.name} for {self.classes} classes and {height} x {width} x {channels} images "
            f"({self.stem} stem)"
        )


SPECS: Mapping[str, type[ModelSpec] | type[TextModelSpec]] = MappingProxyType(
    {"image": ModelSpec, "text": TextModelSpec}
)
"""For each kind of prepared data, the kind of its models."""


def spec_for(settings: TrainParameters, meta: Meta) -> Spec:
    """Return what it takes to build train.model for the prepared data.

    Raises
    ------
    ParameterError
        If the model is not one for such data.
    """
    return SPECS[meta.kind].for_data(settings, meta)


def _torchvision(name: str) -> Builder:
    """Return the builder of a torchvision classifier."""

    def builder(classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
        # Imported here, for importing it takes longer than all the rest.
        from crest.models import torchvision_models

        return torchvision_models.build(name, classes, image_shape, stem)

    return builder


MODELS: Mapping[str, Builder] = MappingProxyType(
    {
        "convnet": convnet,
        "proxynet": proxynet,
        "resnet8": resnet8,
        "resnet20": resnet20,
        "resnet20_gn": resnet20_gn,
        "resnet18": _torchvision("resnet18"),
        "resnet50": _torchvision("resnet50"),
    }
)


def build(
    name: str, *, classes: int, image_shape: Sequence[int], stem: str, seed: int
) -> nn.Module:
    """Return a model with random weights, on the CPU and in train mode.

    Parameters
    ----------
    name
        A key of :data:`MODELS`, or the name of any other of torchvision's classifiers.
    classes
        Number of logits, at least 2.
    image_shape
        Height, width and channels of the images.
    stem
        How a residual network of torchvision starts: ``'cifar'`` (3 x 3 convolution, no pooling)
        or ``'imagenet'`` (7 x 7 with stride 2, max pooling). Other models have one stem only.
    seed
        Fixes every weight. The global random state is neither read nor changed.

    Raises
    ------
    ParameterError
        If there is no such model, or it cannot take such images or give such logits.
    """
    builder = _builder(name)
    _check(name, classes, image_shape, stem)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would reseed CUDA's generators too.
        torch.default_generator.manual_seed(torch_seed(seed))
        model = builder(classes, image_shape, stem)
        _try(name, model, image_shape)
    return model


def _builder(name: str) -> Builder:
    """Return the builder of that name."""
    if name in MODELS:
        return MODELS[name]
    from crest.models import torchvision_models

    others = torchvision_models.names()
    if name in others:
        return _torchvision(name)
    raise ParameterError(
        f"train.model: '{name}' is not one of {', '.join(MODELS)}, nor another classifier of "
        f"torchvision, such as mobilenet_v2{nearest(name, [*MODELS, *others])}"
    )


def _check(name: str, classes: int, image_shape: Sequence[int], stem: str) -> None:
    """Refuse what no model can be built for."""
    if classes < 2:
        raise ParameterError(f"train.model: {name} needs at least 2 classes, not {classes}")
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ParameterError(
            f"train.model: {name} needs images of height x width x channels, "
            f"not of shape {tuple(image_shape)}"
        )
    if stem not in STEMS:
        raise ParameterError(f"train.stem: '{stem}' is none of {', '.join(STEMS)}")


def _try(name: str, model: nn.Module, image_shape: Sequence[int]) -> None:
    """Run one black image through the model, so that a misfit shows before any training."""
    height, width, channels = image_shape
    model.eval()
    try:
        with torch.no_grad():
            features_and_logits(model, torch.zeros(1, channels, height, width))
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ParameterError(
            f"train.model: {name} cannot take images of {height} x {width} pixels ({reason}); "
            "use larger images (prepare.image_size) or a model for small ones, such as convnet"
        ) from None
    model.train()
