"""Last-layer gradients: what is compared when a mini-batch coreset is chosen.

For softmax cross-entropy the gradient with respect to the logits is p − y, where
p = softmax(logits) and y is the one-hot label, so that a forward pass is enough (paper, section 3).
With label smoothing y is what is trained towards: (1 − ε) onehot + ε/C.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from crest.errors import ParameterError, not_one_of
from crest.inference.forward import ForwardPass
from crest.models.head import LastLayer

GradientProxy = Callable[[ForwardPass, LastLayer], Tensor]


def logit_gradients(scored: ForwardPass, last_layer: LastLayer, smoothing: float = 0.0) -> Tensor:
    """Gradient of each loss with respect to the logits, p − y; float32 k×C."""
    probabilities = scored.logits.softmax(1)
    classes = probabilities.shape[1]
    # F.one_hot would have the host wait for a device, to see whether the labels are classes.
    own = scored.labels[:, None] == torch.arange(classes, device=scored.labels.device)
    if smoothing == 0.0:
        return probabilities - own.float()
    return probabilities - (1.0 - smoothing) * own.float() - (smoothing / classes)


def last_input_gradients(
    scored: ForwardPass, last_layer: LastLayer, smoothing: float = 0.0
) -> Tensor:
    """Gradient of each loss with respect to the last layer's input, Wᵀ(p − y); float32 k×d."""
    return logit_gradients(scored, last_layer, smoothing) @ last_layer.weight.detach().float()


def own_weight_gradients(
    scored: ForwardPass, last_layer: LastLayer, smoothing: float = 0.0
) -> Tensor:
    """Gradient of each loss with respect to its own class's row of the last layer.

    (p_y − y_y) (a, 1), the bias last, where a is the layer's input; float32 k×(d+1). Those of two
    classes are of different parameters: it is for comparisons within a class.
    """
    assert scored.features.shape[1] == last_layer.in_features
    own = logit_gradients(scored, last_layer, smoothing).gather(1, scored.labels[:, None])
    return torch.cat([own * scored.features, own], 1)


# Each with a third argument: the label smoothing of the loss.
PROXIES: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {"logits": logit_gradients, "last_input": last_input_gradients}
)
PROXIES_WITHIN_CLASSES: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {**PROXIES, "own_weights": own_weight_gradients}
)


def find_proxy(
    name: str,
    key: str = "crest.proxy",
    within_classes: bool = False,
    smoothing: float = 0.0,
) -> GradientProxy:
    """Look up a proxy; an unknown one is a :class:`ParameterError` that names the ``key``.

    ``within_classes``: only examples of one class are compared with each other. ``smoothing`` is
    the label smoothing of the loss that is trained on.
    """
    known = PROXIES_WITHIN_CLASSES if within_classes else PROXIES
    if name not in known:
        raise ParameterError(f"{key}: {not_one_of(name, known)}")
    return known[name] if smoothing == 0.0 else partial(known[name], smoothing=smoothing)
