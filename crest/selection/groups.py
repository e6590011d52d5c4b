"""Groups: the training set in parts that are chosen from one after another."""

import torch
from torch import Tensor


def groups(
    labels: Tensor, per_class: bool, largest: int, generator: torch.Generator
) -> list[Tensor]:
    """Part all examples at random into groups of at most ``largest``, of one class each or of any.

    What is chosen from r examples takes memory and time that grow with r², so that a class, or the
    whole set, that is larger is chosen from in parts of nearly equal size, drawn anew each time.

    Parameters
    ----------
    labels
        int64, n.
    generator
        On the CPU.

    Returns
    -------
    list
        int64 each, indices of the examples; every example is in one.
    """
    order = torch.randperm(len(labels), generator=generator)
    strata = [order]
    if per_class:
        strata = [order[labels[order] == label] for label in labels.unique()]
    return [
        part for stratum in strata for part in stratum.tensor_split(-(-len(stratum) // largest))
    ]
