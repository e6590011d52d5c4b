"""GradMatch: few last-layer gradients, weighted, whose sum is that of all; renewed now and then.

Killamsetty, Sivasubramanian, Ramakrishnan, De and Iyer, GRAD-MATCH: Gradient Matching based Data
Subset Selection for Efficient Deep Model Training, ICML 2021.
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from crest.samplers.base import Context
from crest.samplers.renewed import Renewed, in_groups
from crest.samplers.sizes import fitting
from crest.selection.gradients import find_proxy
from crest.selection.matching_pursuit import matching_pursuit

if TYPE_CHECKING:
    from crest.methods.gradmatch import GradmatchParameters


def gradmatch(context: "Context[GradmatchParameters]") -> Renewed:
    """Return training on GradMatch's coresets (:class:`Renewed` says how they are trained on).

    Every choice scores the whole training set, group by group as in :mod:`crest.samplers.craig`,
    and matches the sum of the gradients of each group. The default is the paper's per-class and
    per-gradient form: of each class, the gradients of its own row of the last layer.

    Where fewer than a group's share match its sum, as when there are more of them than numbers in
    a gradient and no regularisation, the share is filled up at random with weight 1, as in the
    authors' code.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data.
    """
    settings, examples = context.parameters, len(context.train)
    size = fitting("gradmatch.coreset_size", settings.coreset_size, examples, context.batch_size)
    proxy = find_proxy(
        settings.proxy, "gradmatch.proxy", settings.per_class, context.label_smoothing
    )
    pick = partial(
        match_and_fill, regularisation=settings.regularisation, generator=context.generator
    )
    choose = in_groups(context, pick, proxy, size, settings.per_class, settings.group_size)
    return Renewed(context, choose, size, settings.passes, examples)


def match_and_fill(
    gradients: Tensor, size: int, regularisation: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pick by :func:`matching_pursuit`; where it stops early, fill up at random with weight 1.

    Returns
    -------
    picks
        int64, ``size``, different rows, on the CPU.
    weights
        float32, ``size``, above 0.
    """
    picks, weights = matching_pursuit(gradients, size, regularisation)
    free = torch.ones(len(gradients), dtype=torch.bool)
    free[picks] = False
    others = torch.nonzero(free).flatten()
    order = torch.randperm(len(others), generator=generator)[: size - len(picks)]
    return torch.cat([picks, others[order]]), torch.cat([weights, torch.ones(len(order))])
