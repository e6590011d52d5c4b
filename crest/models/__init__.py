"""Models by name: our own small ones and torchvision's classifiers, with seeded random weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

import torch
from torch import nn

from crest.errors import ParameterError
from crest.models.convnet import convnet
from crest.models.head import features_and_logits
from crest.models.resnet20 import resnet20

Builder = Callable[[int, Sequence[int], str], nn.Module]
"""From the number of classes, the image shape (H, W, C) and the stem to a model."""

STEMS = ("cifar", "imagenet")


@dataclass(frozen=True)
class ModelSpec:
    """What it takes to build a model, all but its weights.

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
        "resnet20": resnet20,
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
        torch.default_generator.manual_seed(seed)
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
    close = get_close_matches(name, dict.fromkeys([*MODELS, *others]), n=3)
    suggestion = f"; did you mean {' or '.join(close)}?" if close else "."
    raise ParameterError(
        f"train.model: unknown model '{name}'{suggestion} Known: {', '.join(MODELS)} "
        "and torchvision's other classifiers, such as mobilenet_v3_small"
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
        with torch.inference_mode():
            features_and_logits(model, torch.zeros(1, channels, height, width))
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ParameterError(
            f"train.model: {name} cannot take images of {height} x {width} pixels ({reason}); "
            "use larger images (prepare.image_size) or a model for small ones, such as convnet"
        ) from None
    model.train()
