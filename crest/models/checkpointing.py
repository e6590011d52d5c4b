"""Activation checkpointing: memory for time, at the very same gradients.

A block of a model keeps its inputs in the forward pass, and is run again in the backward pass for
the activations within it (Chen, Xu, Zhang and Guestrin, Training Deep Nets with Sublinear Memory
Cost, 2016). Dropout draws what it drew, and what a block counts, such as BatchNorm's running
statistics, is counted once.

Only training passes do so: in eval mode, and without gradients, a model runs as it is. That leaves
out the Hessian-vector products of :mod:`crest.regions.curvature`, which hold every activation in
the graph of the gradient whether it was kept or computed anew.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crest.errors import ParameterError
from crest.models.head import last_module

KEY = "train.activation_checkpointing"
ADVICE = "set it to false, and raise train.micro_batches where memory is short"

# By which transformers makes embeddings ask for gradients even where they are frozen: reentrant
# checkpoints need it, and the curvature of the last layer would go through the whole model for it.
INPUT_HOOK = "_require_grads_hook"


def checkpoint_activations(model: nn.Module) -> nn.Module:
    """Have a model's blocks run again in the backward pass instead of keeping their activations.

    Parameters and buffers keep their names and values. Models of transformers do it layer by
    layer, their own way, and without a cache of keys and values; the blocks of others are those
    of :func:`blocks`, such as residual ones.

    Parameters
    ----------
    model
        Changed in place, and returned.

    Raises
    ------
    ParameterError
        If the model has no blocks, or transformers cannot do it for this one.
    """
    network = _of_transformers(model)
    if network is not None:
        _enable(network)
        return model
    found = blocks(model)
    if not found:
        raise ParameterError(
            f"{KEY}: {model._get_name()} has no blocks of layers in a torch.nn.Sequential or "
            f"ModuleList, as residual networks and transformers have; {ADVICE}"
        )
    for block in found:
        if not isinstance(block.forward, _Recomputed):
            block.forward = _Recomputed(block, block.forward)
    return model


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model, in its order: no one within another, none with its last layer.

    A block is a module with layers of its own that stands in a torch.nn.Sequential or ModuleList,
    or beside another of its class. A sequence of such modules is none, but they are.
    """
    return list(_blocks(model, last_module(model), candidate=False))


def _blocks(module: nn.Module, last: nn.Module | None, candidate: bool) -> Iterator[nn.Module]:
    if candidate and _is_block(module) and all(part is not last for part in module.modules()):
        yield module
        return
    children = list(module.children())
    kinds = Counter(type(child) for child in children)
    in_sequence = isinstance(module, nn.Sequential | nn.ModuleList)
    for child in children:
        # All of a model's layers may be one sequence of two: its features and its classifier.
        beside = kinds[type(child)] > 1 and not isinstance(child, nn.Sequential)
        yield from _blocks(child, last, in_sequence or beside)


def _is_block(module: nn.Module) -> bool:
    """Whether a module has layers, and is no mere sequence of modules that have."""
    if isinstance(module, nn.ModuleList) or next(module.parameters(), None) is None:
        return False
    if isinstance(module, nn.Sequential):
        return not any(_has_parts(child) for child in module)
    return _has_parts(module)


def _has_parts(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


@dataclass(frozen=True, eq=False)
class _Recomputed:
    """The forward pass of a block, run again in the backward pass.

    It stands in for the method in the block alone, so that no name of a parameter changes, and is
    copied with the block.
    """

    block: nn.Module
    forward: Callable[..., Any]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if not (self.block.training and torch.is_grad_enabled()):
            return self.forward(*arguments, **options)
        contexts = partial(_contexts, self.block)
        return checkpoint(
            self.forward, *arguments, use_reentrant=False, context_fn=contexts, **options
        )


def _contexts(
    module: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return what the first and the later runs of a module, or of a part of it, go on in."""
    return nullcontext(), _SpareBuffers(module)


class _SpareBuffers(AbstractContextManager[None]):
    """Has what counts, such as BatchNorm, count into copies of its buffers.

    Entered once for each backward pass through the same forward pass.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._kept: list[tuple[nn.Module, str, Tensor]] = []

    def __enter__(self) -> None:
        self._kept = [
            (module, name, buffer)
            for module in self._module.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]
        for module, name, buffer in self._kept:
            setattr(module, name, buffer.clone())

    def __exit__(self, *_: object) -> None:
        for module, name, buffer in self._kept:
            setattr(module, name, buffer)
        self._kept = []


def _of_transformers(model: nn.Module) -> Any:
    """Return the model of transformers that it is, or that it wraps; None if it is another."""
    return next((part for part in model.modules() if _is_of_transformers(part)), None)


def _is_of_transformers(module: nn.Module) -> bool:
    return callable(getattr(module, "gradient_checkpointing_enable", None))


def _enable(network: Any) -> None:
    name = "activation_checkpointing_enable"  # as transformers 5 calls it
    enable = getattr(network, name, None) or network.gradient_checkpointing_enable
    had_hook = hasattr(network, INPUT_HOOK)
    try:
        enable({"use_reentrant": False, "context_fn": partial(_contexts, network)})
    except ValueError as error:
        reason = str(error).strip().rstrip(".")
        raise ParameterError(
            f"{KEY}: transformers cannot do it for {network._get_name()} ({reason}); {ADVICE}"
        ) from None
    config: Any = getattr(network, "config", None)
    if getattr(config, "use_cache", False):
        config.use_cache = False  # as each pass would, with a message
    if hasattr(network, INPUT_HOOK) and not had_hook:
        network.disable_input_require_grads()
