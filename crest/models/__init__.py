"""Models by name: of images, and of text.

An architecture starts from seeded random weights, unless train.weights names others; a repository
or a folder, as models of text are named by, from its own.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import torch
from torch import nn

from crest.data.files import ImageMeta, Meta
from crest.data.preprocessing import Preprocessing
from crest.devices.generators import torch_seed
from crest.errors import ParameterError, nearest
from crest.models.convnet import convnet
from crest.models.head import features_and_logits
from crest.models.hub_images import HubImageSpec, hub_preprocessing, misfit_of_images
from crest.models.proxynet import proxynet
from crest.models.resnet8 import resnet8
from crest.models.resnet20 import resnet20, resnet20_gn
from crest.models.starting import PRETRAINED, RANDOM, FileWeights, is_of_a_run, start_of
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

    @property
    def weights(self) -> str | None:
        """The value of train.weights."""
        ...

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How it wants images; None for the data's own statistics, and of text."""
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
    weights
        What it starts from, as train.weights has it.
    preprocessing
        How those want images; None for the data's own statistics.
    """

    name: str
    classes: int
    image_shape: tuple[int, int, int]
    stem: str = "cifar"
    weights: str | None = field(default=None, compare=False)
    preprocessing: Preprocessing | None = None

    @classmethod
    def for_data(
        cls, settings: TrainParameters, meta: Meta, preprocessing: Preprocessing | None
    ) -> "ModelSpec":
        """Return the spec of train.model for prepared images."""
        assert isinstance(meta, ImageMeta)
        return cls(
            settings.model,
            len(meta.classes),
            _input_shape(meta, preprocessing),
            settings.stem,
            settings.weights,
            preprocessing,
        )

    def fresh(self, seed: int) -> nn.Module:
        """Return the model as training starts from it; raises as :func:`build` does.

        With weights of another training its head alone is drawn.
        """
        model = self._drawn(seed)
        if (start := start_of(self.name, self.weights)) is not None:
            start.put_into(model, self.image_shape, self.stem)
        return model

    def empty(self) -> nn.Module:
        """Return the model with random weights."""
        return self._drawn(seed=0)

    def _drawn(self, seed: int) -> nn.Module:
        return build(
            self.name,
            classes=self.classes,
            image_shape=self.image_shape,
            stem=self.stem,
            seed=seed,
        )

    def misfit(self, meta: Meta) -> str | None:
        """Say why the model is none for these prepared data; None if it is one."""
        if not isinstance(meta, ImageMeta):
            return "a model of images; the prepared data are text"
        return misfit_of_images(self.classes, self.image_shape, meta, self.preprocessing)

    def metadata(self) -> dict[str, str]:
        """Return the spec as safetensors stores it: text to text."""
        return {
            "kind": "image",
            "model": self.name,
            "classes": str(self.classes),
            "image_shape": json.dumps(self.image_shape),
            "stem": self.stem,
            **({} if self.weights is None else {"weights": self.weights}),
            **(
                {}
                if self.preprocessing is None
                else {"preprocessing": self.preprocessing.as_json()}
            ),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelSpec":
        """Return the spec that :meth:`metadata` stored; KeyError or ValueError if it cannot be."""
        height, width, channels = (int(size) for size in json.loads(metadata["image_shape"]))
        classes = int(metadata["classes"])
        text = metadata.get("preprocessing")
        return cls(
            metadata["model"],
            classes,
            (height, width, channels),
            metadata["stem"],
            metadata.get("weights"),
            None if text is None else Preprocessing.from_json(text),
        )

    def __str__(self) -> str:
        height, width, channels = self.image_shape
        return (
            f"{self.name} for {self.classes} classes and {height} x {width} x {channels} images "
            f"({self.stem} stem)"
        )


SPECS: Mapping[str, type[ModelSpec] | type[HubImageSpec] | type[TextModelSpec]] = MappingProxyType(
    {"image": ModelSpec, HubImageSpec.KIND: HubImageSpec, "text": TextModelSpec}
)
"""For each kind of model that a file says it holds, its spec."""


def spec_for(
    settings: TrainParameters, meta: Meta, preprocessing: Preprocessing | None = None
) -> Spec:
    """Return what it takes to build train.model for the prepared data.

    Parameters
    ----------
    preprocessing
        What the data were opened with, :func:`preprocessing_of`.

    Raises
    ------
    ParameterError
        If the model is not one for such data.
    """
    if not isinstance(meta, ImageMeta):
        return TextModelSpec.for_data(settings, meta)
    if _is_of_hub(settings.model):
        shape = _input_shape(meta, preprocessing)
        return HubImageSpec.for_data(settings, len(meta.classes), shape, preprocessing)
    return ModelSpec.for_data(settings, meta, preprocessing)


def preprocessing_of(settings: TrainParameters, meta: Meta) -> Preprocessing | None:
    """Return how the weights that the parameters name want images.

    None for the data's own statistics: of text, and where weights are drawn at random, unless they
    are resized.

    Raises
    ------
    ParameterError
        If there are no such weights.
    """
    if not isinstance(meta, ImageMeta):
        return None
    found = _of_weights(settings)
    if settings.input_size is None:
        # Whatever an earlier run resized its images to: null is as they are.
        return None if found is None else replace(found, resized=None)
    return replace(found or Preprocessing.of_data(meta.mean, meta.std), resized=settings.input_size)


def starts_at_random(settings: TrainParameters, meta: Meta) -> bool:
    """Whether nothing of the model is pretrained."""
    if not isinstance(meta, ImageMeta):
        return False
    return settings.weights == RANDOM or (settings.weights is None and "/" not in settings.model)


def _of_weights(settings: TrainParameters) -> Preprocessing | None:
    if _is_of_hub(settings.model):
        return _of_hub_weights(settings.model, settings.weights)
    start = start_of(settings.model, settings.weights)
    return None if start is None else start.preprocessing()


def _of_hub_weights(model: str, named: str | None) -> Preprocessing | None:
    """Return how a hub's model wants images; a file of an earlier run says so itself."""
    if named == RANDOM:
        return None
    if named in (None, PRETRAINED):
        return hub_preprocessing(model)
    path = Path(str(named)).expanduser()
    return (
        FileWeights(path, model).preprocessing() if is_of_a_run(path) else hub_preprocessing(model)
    )


def _is_of_hub(name: str) -> bool:
    """Whether a model of images is named by a repository of the hub or by a folder."""
    return "/" in name and not name.startswith("timm/")


def _input_shape(meta: ImageMeta, preprocessing: Preprocessing | None) -> tuple[int, int, int]:
    height, width, channels = meta.image_shape
    shape = (height, width, channels)
    return shape if preprocessing is None else preprocessing.shape(shape)


def _timm(classes: int, image_shape: Sequence[int], stem: str, name: str) -> nn.Module:
    from crest.models import timm_models

    timm_models.check(name)
    return timm_models.build(name, classes, image_shape, stem)


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
    if name.startswith("timm/"):
        return partial(_timm, name=name)
    from crest.models import torchvision_models

    others = torchvision_models.names()
    if name in others:
        return _torchvision(name)
    raise ParameterError(
        f"train.model: '{name}' is not one of {', '.join(MODELS)}, nor another classifier of "
        "torchvision, such as mobilenet_v2; timm/NAME; OWNER/NAME of the hub"
        f"{nearest(name, [*MODELS, *others])}"
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
