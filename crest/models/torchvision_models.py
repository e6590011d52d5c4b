"""Torchvision's classifiers, fitted to the data's classes, channels and image size."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from crest.errors import ParameterError, needs_extra

with needs_extra("images"):
    import torchvision


def names() -> list[str]:
    """Return the names of torchvision's classifiers, without its detectors and the like."""
    return torchvision.models.list_models(module=torchvision.models)


def build(name: str, classes: int, image_shape: Sequence[int], stem: str) -> nn.Module:
    """Return one of :func:`names` with random weights.

    Parameters
    ----------
    name
        One of :func:`names`.
    classes
        Number of logits.
    image_shape
        Height, width and channels.
    stem
        For residual networks ``'cifar'`` or ``'imagenet'``; other models have one stem only.

    Raises
    ------
    ParameterError
        If the model cannot be fitted to the images.
    """
    height, width, channels = image_shape
    arguments = _arguments(name, height, width)
    try:
        model = torchvision.models.get_model(name, weights=None, num_classes=classes, **arguments)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ParameterError(
            f"train.model: {name} cannot be built for images of {height} x {width} pixels: {reason}"
        ) from None
    if isinstance(model, torchvision.models.ResNet):
        _fit_stem(model, channels, stem)
    elif channels != 3:
        _fit_channels(model, channels)
    return model


def _arguments(name: str, height: int, width: int) -> dict[str, Any]:
    """Return arguments that a few models need."""
    if name.startswith("vit_"):
        if height != width:
            raise ParameterError(
                f"train.model: {name} takes square images, not {height} x {width} pixels"
            )
        return {"image_size": height}
    if name.startswith("maxvit"):
        return {"input_size": (height, width)}
    if name in {"googlenet", "inception_v3"}:
        # The auxiliary outputs are no part of the logits. These two ask for their own slow
        # initialisation by name and warn otherwise.
        return {"aux_logits": False, "init_weights": True}
    return {}


def _fit_stem(model: torchvision.models.ResNet, channels: int, stem: str) -> None:
    """Give a residual network its first convolution: 3 x 3 for small images, 7 x 7 for large."""
    width = model.conv1.out_channels
    if stem == "cifar":
        model.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif channels == 3:
        return
    else:
        model.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")


def _fit_channels(model: nn.Module, channels: int) -> None:
    """Replace the first convolution by one for ``channels``, in place."""
    path, old = next(
        (path, module) for path, module in model.named_modules() if isinstance(module, nn.Conv2d)
    )
    new = nn.Conv2d(
        channels,
        old.out_channels,
        _pair(old.kernel_size),
        stride=_pair(old.stride),
        padding=_pair(old.padding),
        bias=old.bias is not None,
    )
    _initialise_like(new.weight, old.weight, (old.in_channels / channels) ** 0.5)
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


def _initialise_like(new: Tensor, old: Tensor, scale: float) -> None:
    """Draw normal weights with the spread of ``old`` times ``scale``.

    Each model has an initialisation of its own; with the scale at the square root of the ratio of
    the channels, its outputs vary as they did.
    """
    nn.init.normal_(new, std=scale * float(old.detach().std()))


def _pair(value: Any) -> tuple[int, int]:
    """Return a convolution's setting as the two numbers it holds."""
    first, second = value
    return first, second
