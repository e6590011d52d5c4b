"""Mixup and cutmix: each example of a mini-batch mixed with another of it.

x̃ = λx + (1 − λ)x′ for mixup; for cutmix a box of one image is the other's, and λ the share of the
own pixels. The loss of the pair is λγ ℓ(x̃, y) + (1 − λ)γ′ ℓ(x̃, y′), each label weighed by its own
example's weight: over a mini-batch a label counts γ in all, as it does without mixing, and the loss
is the plain one for λ = 1.

References
----------
Zhang, Cissé, Dauphin and Lopez-Paz, mixup: Beyond Empirical Risk Minimization, ICLR 2018.
Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features,
ICCV 2019.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from crest.devices.transfer import on_device
from crest.parameters.sections import TrainParameters

# Top, bottom, left, right.
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Targets:
    """What inputs are trained towards, all on their device.

    ``labels`` int64 k, with ``weights`` float32 k; ``other_labels`` and ``other_weights``, of the
    same kinds, are those of the examples mixed in, where there are any.
    """

    labels: Tensor
    weights: Tensor
    other_labels: Tensor | None = None
    other_weights: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Those that there are, in order."""
        every = (self.labels, self.weights, self.other_labels, self.other_weights)
        return tuple(tensor for tensor in every if tensor is not None)


@dataclass(frozen=True)
class Mix:
    """How a mini-batch is mixed.

    ``partners`` (int64 k, on the CPU): whom each is mixed with, itself only where it is alone;
    ``share`` (λ) of the own, from a half up. ``box``: where the images of cutmix change; None for
    mixup. ``boxed``: whether the box is the own part, of the other image, as boxes of more than
    half are.
    """

    partners: Tensor
    share: float
    box: Box | None = None
    boxed: bool = False


@dataclass(frozen=True)
class Mixing:
    """Mixes mini-batches by the parameters of Beta distributions, of which one is above 0.

    Each mini-batch has one λ and one box for all, as by default in torchvision and timm. Of the two
    in a pair the larger is the own: the pairs are the same, with as much of either, and what is
    seen of an example is seen where it is most of the picture.
    """

    mixup: float
    cutmix: float

    @classmethod
    def of(cls, parameters: TrainParameters) -> "Mixing | None":
        """Return the mixing that the parameters ask for, None for none."""
        if parameters.mixup == 0.0 and parameters.cutmix == 0.0:
            return None
        return cls(parameters.mixup, parameters.cutmix)

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Mix:
        """Draw how ``count`` images are mixed; ``generator`` is on the CPU."""
        order = torch.randperm(count, generator=generator)
        partners = torch.empty_like(order)
        partners[order] = order.roll(1)  # one after another in a circle: none is its own partner
        source = random.Random(int(torch.randint(2**62, (), generator=generator)))
        cuts = self.mixup == 0.0 or (self.cutmix > 0.0 and source.random() < 0.5)
        alpha = self.cutmix if cuts else self.mixup
        share = source.betavariate(alpha, alpha)
        if not cuts:
            return Mix(partners, max(share, 1.0 - share))
        box = _box(share, height, width, source)
        top, bottom, left, right = box
        within = (bottom - top) * (right - left) / (height * width)
        return Mix(partners, max(within, 1.0 - within), box, within > 0.5)


def mix(inputs: Tensor, labels: Tensor, weights: Tensor, drawn: Mix) -> tuple[Tensor, Targets]:
    """Mix a mini-batch: inputs float k×C×H×W, labels int64 k and weights float32 k of a device."""
    partners = on_device(drawn.partners, inputs.device)
    targets = Targets(
        labels,
        weights * drawn.share,
        labels.index_select(0, partners),
        weights.index_select(0, partners) * (1.0 - drawn.share),
    )
    others = inputs.index_select(0, partners)
    if drawn.box is None:
        return inputs.mul(drawn.share).add_(others, alpha=1.0 - drawn.share), targets
    base, cut = (others, inputs) if drawn.boxed else (inputs, others)
    top, bottom, left, right = drawn.box
    mixed = torch.empty_like(inputs).copy_(base)
    mixed[:, :, top:bottom, left:right] = cut[:, :, top:bottom, left:right]
    return mixed, targets


def _box(share: float, height: int, width: int, source: random.Random) -> Box:
    """Return a box of about 1 − ``share`` of an image, cut off at its border."""
    middle_y, middle_x = source.randrange(height), source.randrange(width)
    half = 0.5 * math.sqrt(1.0 - share)
    half_y, half_x = int(half * height), int(half * width)
    return (
        max(middle_y - half_y, 0),
        min(middle_y + half_y, height),
        max(middle_x - half_x, 0),
        min(middle_x + half_x, width),
    )
