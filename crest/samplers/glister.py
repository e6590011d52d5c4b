"""GLISTER: examples whose gradient step helps held-out training examples most; renewed.

Killamsetty, Sivasubramanian, Ramakrishnan and Iyer, GLISTER: Generalization based Data Subset
Selection for Efficient and Robust Learning, AAAI 2021.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from crest.models.head import last_layer
from crest.samplers.base import Context
from crest.samplers.renewed import Choose, Coreset, Observe, Renewed
from crest.samplers.sizes import count_of, fitting
from crest.selection.glister import Head, with_constant
from crest.selection.glister import glister as choose_helpful
from crest.selection.gradients import logit_gradients
from crest.selection.shares import proportional

if TYPE_CHECKING:
    from crest.methods.glister import GlisterParameters


def glister(context: "Context[GlisterParameters]") -> Renewed:
    """Return training on GLISTER's coresets (:class:`Renewed` says how they are trained on).

    Its validation data are a random share of the training set, each class in proportion. They are
    drawn once and never trained on; in the tables they are excluded. Every choice scores the
    whole training set; ``glister.coreset_size`` is a share of what is left of it. All weights
    are 1. Per class, each class has its share of the coreset, and the validation loss is that of
    all classes all the same.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data.
    """
    settings, labels = context.parameters, context.train.labels
    held_out = _hold_out(labels, settings.validation, context.generator)
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[held_out] = False
    candidates = torch.nonzero(kept).flatten()
    size = fitting(
        "glister.coreset_size", settings.coreset_size, len(candidates), context.batch_size
    )
    return Renewed(
        context,
        _choose(context, candidates, held_out, size),
        size,
        settings.passes,
        len(candidates),
    )


def _choose(
    context: "Context[GlisterParameters]", candidates: Tensor, held_out: Tensor, size: int
) -> Choose:
    """Return the function that chooses from the candidates by the held-out examples."""
    settings = context.parameters
    groups = torch.zeros_like(candidates)
    if settings.per_class:
        groups = context.train.labels[candidates].unique(return_inverse=True)[1]
    sizes = torch.bincount(groups)

    def choose(observe: Observe) -> Coreset:
        shares = proportional(sizes, size, context.generator)
        layer = last_layer(context.model)
        scored, validation = observe(candidates), observe(held_out)
        picks = choose_helpful(
            Head.of(layer),
            logit_gradients(scored, layer, context.label_smoothing),
            with_constant(scored.features),
            with_constant(validation.features),
            validation.labels,
            groups.to(scored.logits.device),
            shares,
            settings.gradient_updates,
            settings.step_size,
        )
        indices = candidates[picks.cpu()]
        return Coreset(indices, torch.ones(len(indices)))

    return choose


def _hold_out(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw the validation data, each class in proportion; int64, in rising order."""
    classes, members = labels.unique(return_inverse=True)
    counts = proportional(
        torch.bincount(members, minlength=len(classes)), count_of(share, len(labels)), generator
    )
    order = torch.randperm(len(labels), generator=generator)
    drawn = [order[members[order] == place][:count] for place, count in enumerate(counts.tolist())]
    return torch.cat(drawn).sort().values
