"""Optimisers, built from the parameters of a run."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from crest.errors import ParameterError, not_one_of
from crest.models.depth import rate_factors
from crest.parameters.sections import TrainParameters

Builder = Callable[[nn.Module, TrainParameters], Optimizer]

# On the CPU the fused kernels walk through memory and, without a word, mix up elements where a
# gradient or a restored momentum is laid out otherwise than its weight, as happens with
# channels_last. foreach gives the bits of the plain loop in less time.
_FOREACH = True


def _sgd(model: nn.Module, parameters: TrainParameters) -> Optimizer:
    """Return SGD with momentum; the decay holds for every weight, as in He et al., CVPR 2016."""
    return SGD(
        list(_groups(model, parameters, spared=parameters.decayed == "matrices")),
        lr=parameters.lr,
        momentum=parameters.momentum,
        nesterov=parameters.nesterov,
        weight_decay=parameters.weight_decay,
        foreach=_FOREACH,
    )


def _adamw(model: nn.Module, parameters: TrainParameters) -> Optimizer:
    """Return AdamW whose decay spares biases and norms; the momentum is its first beta."""
    if parameters.nesterov:
        raise ParameterError("train.nesterov: only sgd has it; train.optimizer is adamw")
    # Without convolutions there is one layout, and the fused kernel takes a fraction of the time.
    fused = all(weight.ndim <= 2 for weight in _trainable(model))
    return AdamW(
        list(_groups(model, parameters, spared=parameters.decayed != "all")),
        lr=parameters.lr,
        betas=(parameters.momentum, 0.999),
        fused=fused,
        foreach=not fused,
    )


OPTIMIZERS: Mapping[str, Builder] = MappingProxyType({"sgd": _sgd, "adamw": _adamw})


def build(model: nn.Module, parameters: TrainParameters) -> Optimizer:
    """Return the optimiser of a run over the model's trainable weights.

    Parameters
    ----------
    model
        On its device already; weights with ``requires_grad`` off are left out.
    parameters
        ``optimizer``, ``lr``, ``momentum`` (adamw: the first beta), ``nesterov`` (sgd only),
        ``weight_decay``, ``decayed``, ``layer_decay`` and ``head_lr_factor`` are read.

    Returns
    -------
    Optimizer
        Each of its groups has, as ``lr_factor``, what its learning rate is of the run's.

    Raises
    ------
    ParameterError
        If the optimiser is unknown, lacks what is asked for, or the model has nothing to train.

    References
    ----------
    Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """
    if parameters.optimizer not in OPTIMIZERS:
        raise ParameterError(f"train.optimizer: {not_one_of(parameters.optimizer, OPTIMIZERS)}")
    return OPTIMIZERS[parameters.optimizer](model, parameters)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of a step: each group's is its ``lr_factor`` of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


def _groups(
    model: nn.Module, parameters: TrainParameters, spared: bool
) -> Iterator[dict[str, Any]]:
    """Yield the weights by their learning rate; where ``spared`` norms and biases do not decay."""
    factors = rate_factors(model, parameters.layer_decay, parameters.head_lr_factor)
    weights = _trainable(model)
    for factor in dict.fromkeys(factors[weight] for weight in weights):
        same = [weight for weight in weights if factors[weight] == factor]
        # Biases and the scales of norms have one dimension, weights and embeddings more.
        parts = (
            (
                [weight for weight in same if weight.ndim > 1 or not spared],
                parameters.weight_decay,
            ),
            ([weight for weight in same if weight.ndim <= 1 and spared], 0.0),
        )
        for part, decay in parts:
            if part:
                yield {"params": part, "weight_decay": decay, "lr_factor": factor}


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights that training may change."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise ParameterError(f"train.model: {type(model).__name__} has no weights to train")
    return weights
