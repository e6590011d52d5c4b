"""CRAIG: medoids of the last-layer gradients, weighted by cluster sizes, renewed now and then.

Mirzasoleiman, Bilmes and Leskovec, Coresets for Data-efficient Training of Machine Learning
Models, ICML 2020.
"""

from typing import TYPE_CHECKING

import torch

from crest.samplers.base import Context
from crest.samplers.limits import require_room_for_distances
from crest.samplers.renewed import Renewed, in_groups
from crest.samplers.sizes import fitting
from crest.selection.craig import craig as choose_medoids
from crest.selection.gradients import find_proxy

if TYPE_CHECKING:
    from crest.methods.craig import CraigParameters


def craig(context: "Context[CraigParameters]") -> Renewed:
    """Return training on CRAIG's coresets (:class:`Renewed` says how they are trained on).

    Every choice scores the whole training set. Facility location of r examples takes r² numbers:
    a class, or the whole set where it is not chosen from class by class, that has more than
    ``craig.group_size`` examples is chosen from in random parts of at most as many.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data.
    """
    settings, examples = context.parameters, len(context.train)
    size = fitting("craig.coreset_size", settings.coreset_size, examples, context.batch_size)
    labels = context.train.labels
    largest = int(torch.bincount(labels).max()) if settings.per_class else examples
    group = min(largest, settings.group_size)
    require_room_for_distances("craig.group_size", group, context.precision.device)
    proxy = find_proxy(settings.proxy, "craig.proxy", settings.per_class, context.label_smoothing)
    choose = in_groups(
        context, choose_medoids, proxy, size, settings.per_class, settings.group_size
    )
    return Renewed(context, choose, size, settings.passes, examples)
