"""The last linear layer of a classifier: what goes in, and the logits that come out."""

from typing import Any

import torch
from torch import Tensor, nn

from crest.errors import ParameterError


def last_layer(model: nn.Module) -> nn.Linear:
    """Return the linear layer whose output is the logits.

    It is the linear layer that the model registers last, which holds for every model here, for
    torchvision's classifiers and for the usual way of writing one. :func:`features_and_logits`
    checks that it truly ends the forward pass.

    Raises
    ------
    ParameterError
        If the model has no linear layer.
    """
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise ParameterError(
            f"train.model: {model._get_name()} has no linear layer to take last-layer "
            "gradients from; use a classifier that ends in torch.nn.Linear"
        )
    return linears[-1]


def features_and_logits(model: nn.Module, inputs: Any) -> tuple[Tensor, Tensor]:
    """Run the model once and return the last layer's input and its output.

    Parameters
    ----------
    model
        A classifier that ends in a linear layer; its train or eval mode is left as it is.
    inputs
        What the model takes, such as images of shape (B, C, H, W).

    Returns
    -------
    features
        The last layer's input a, of shape (B, d).
    logits
        The model's output W a + b, of shape (B, C).

    Raises
    ------
    ParameterError
        If the model has no linear layer, or does not end in it.
    """
    layer = last_layer(model)
    passes: list[tuple[Tensor, Tensor]] = []

    def record(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        passes.append((arguments[0], output))

    hook = layer.register_forward_hook(record)
    try:
        output = model(inputs)
    finally:
        hook.remove()
    if not passes or not _ends_in(output, passes[-1][1]):
        raise ParameterError(
            f"train.model: {model._get_name()} does not end in its last linear layer "
            f"({layer.in_features} to {layer.out_features}); its output must be that layer's "
            "logits, one row an example"
        )
    return passes[-1]


def _ends_in(output: Any, logits: Tensor) -> bool:
    """Whether the model's output is the layer's, itself or as the logits of a larger answer."""
    output = getattr(output, "logits", output)
    if logits.ndim != 2 or not isinstance(output, torch.Tensor):
        return False
    # Identity first: it also holds under torch.func, where a tensor has no address. A view of the
    # logits, as from flatten or squeeze, is another object at the same address, and a copy, as
    # accelerate makes of logits in bf16, has their values.
    if output is logits:
        return True
    if output.shape != logits.shape:
        return False
    if output.data_ptr() == logits.data_ptr():
        return True
    return torch.allclose(output, logits.to(output.dtype), rtol=0.0, atol=0.0, equal_nan=True)
