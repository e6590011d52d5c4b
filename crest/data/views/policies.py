"""TrivialAugment and RandAugment: operations drawn at random, as torchvision's version 2 has them.

References
----------
Müller and Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation, ICCV 2021.
Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space,
NeurIPS 2020.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from crest.data.augment import Augmentation
from crest.data.views import colors, geometry
from crest.data.views.rows import put, taken
from crest.data.views.uniform import below, draw_uniform

BINS = 31  # magnitudes of an operation
COLUMNS = 3  # of an operation's draws: which, its magnitude, its sign

# From uint8 images k×H×W×C and k magnitudes to the changed images.
Change = Callable[[Tensor, list[float]], Tensor]
# From an image's height and width to all magnitudes.
Magnitudes = Callable[[int, int], Tensor]


def _moved(matrix: geometry.Matrix) -> Change:
    def change(images: Tensor, magnitudes: list[float]) -> Tensor:
        height, width = images.shape[1:3]
        matrices = [matrix(magnitude, height, width) for magnitude in magnitudes]
        return geometry.warp(images, torch.tensor(matrices, dtype=torch.float64))

    return change


def _colored(change: Change, middle: float = 0.0) -> Change:
    """Return a change of colours, whose factors are the magnitudes and a number."""

    def changed(images: Tensor, magnitudes: list[float]) -> Tensor:
        factors = [middle + each for each in magnitudes]
        return change(images.permute(0, 3, 1, 2), factors).permute(0, 2, 3, 1)

    return changed


CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "Identity": lambda images, magnitudes: images,
        "ShearX": _moved(geometry.shear_x),
        "ShearY": _moved(geometry.shear_y),
        "TranslateX": _moved(geometry.translate_x),
        "TranslateY": _moved(geometry.translate_y),
        "Rotate": _moved(geometry.rotate),
        "Brightness": _colored(colors.brightness, 1.0),
        "Color": _colored(colors.saturation, 1.0),
        "Contrast": _colored(colors.contrast, 1.0),
        "Sharpness": _colored(colors.sharpness, 1.0),
        "Posterize": _colored(colors.posterize),
        "Solarize": _colored(colors.solarize),
        "AutoContrast": _colored(colors.autocontrast),
        "Equalize": _colored(colors.equalize),
    }
)
OPERATIONS = tuple(CHANGES)
SIGNED = frozenset(OPERATIONS[1:10])


@dataclass(frozen=True)
class Policy:
    """How many operations an image goes through, and their magnitudes.

    ``magnitude`` is the place of those of all operations; None where each is drawn.
    """

    operations: int
    magnitude: int | None
    magnitudes: Mapping[str, Magnitudes]


def _up_to(highest: float) -> Magnitudes:
    return lambda height, width: torch.linspace(0.0, highest, BINS)


def _bits(fewer: int) -> Magnitudes:
    """Return 8 bits and less, by up to ``fewer``."""
    return lambda height, width: (8 - torch.arange(BINS) / ((BINS - 1) / fewer)).round()


def _none(height: int, width: int) -> Tensor:
    return torch.zeros(BINS)


def _thresholds(height: int, width: int) -> Tensor:
    return torch.linspace(1.0, 0.0, BINS)


def _space(
    shear: float, shifts: tuple[Magnitudes, Magnitudes], turn: float, color: float, fewer: int
) -> Mapping[str, Magnitudes]:
    """Return the magnitudes of all operations."""
    found: dict[str, Magnitudes] = dict.fromkeys(OPERATIONS, _none)
    found |= dict.fromkeys(("ShearX", "ShearY"), _up_to(shear))
    found |= {"TranslateX": shifts[0], "TranslateY": shifts[1], "Rotate": _up_to(turn)}
    found |= dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), _up_to(color))
    return MappingProxyType(found | {"Posterize": _bits(fewer), "Solarize": _thresholds})


TRIVIAL_AUGMENT = _space(0.99, (_up_to(32.0), _up_to(32.0)), 135.0, 0.99, 6)
RAND_AUGMENT = _space(
    0.3,
    (
        lambda height, width: torch.linspace(0.0, 150.0 / 331.0 * width, BINS),
        lambda height, width: torch.linspace(0.0, 150.0 / 331.0 * height, BINS),
    ),
    30.0,
    0.9,
    4,
)


def policy_of(augmentation: Augmentation) -> Policy | None:
    """Return the policy that is asked for, None for none."""
    if augmentation.policy is None:
        return None
    if augmentation.policy == "trivialaugment":
        return Policy(1, None, TRIVIAL_AUGMENT)
    return Policy(augmentation.policy_operations, augmentation.policy_magnitude, RAND_AUGMENT)


def draw_operations(count: int, policy: Policy, generator: torch.Generator) -> Tensor:
    """Draw what ``count`` images go through; int64, count×(operations · COLUMNS)."""
    return draw_uniform(count, policy.operations * COLUMNS, generator)


def operations_of(draws: Tensor, policy: Policy, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return an operation's place in OPERATIONS and its magnitude; int64 and float64, k.

    ``draws``: k rows of its COLUMNS.
    """
    operations = below(draws[:, 0], len(OPERATIONS))
    places = below(draws[:, 1], BINS)
    if policy.magnitude is not None:
        places = torch.full_like(places, policy.magnitude)
    known = torch.stack([policy.magnitudes[name](height, width).double() for name in OPERATIONS])
    signed = torch.tensor([name in SIGNED for name in OPERATIONS])[operations]
    magnitudes = known[operations, places]
    return operations, torch.where(signed & (below(draws[:, 2], 2) == 1), -magnitudes, magnitudes)


def operate(images: Tensor, draws: Tensor, policy: Policy) -> Tensor:
    """Put images through the operations that were drawn.

    Parameters
    ----------
    images
        uint8, k×H×W×C, of one channel or three.
    draws
        k rows of :func:`draw_operations`, on the CPU.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    height, width = images.shape[1:3]
    images = images.clone()
    for drawn in draws.split(COLUMNS, 1):
        operations, magnitudes = operations_of(drawn, policy, height, width)
        for number, name in enumerate(OPERATIONS):
            rows = torch.nonzero(operations == number).flatten()
            if name == "Identity" or not len(rows):
                continue
            places = rows.tolist()
            changed = CHANGES[name](taken(images, places), magnitudes[rows].tolist())
            put(images, places, changed)
    return images
