"""GLISTER: examples whose gradient step lowers the loss on validation data most.

Killamsetty, Sivasubramanian, Ramakrishnan and Iyer, GLISTER: Generalization based Data Subset
Selection for Efficient and Robust Learning, AAAI 2021: bilevel optimisation, the inner problem one
gradient step of the last layer, the outer one greedy by a Taylor series of first order.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from crest.models.head import LastLayer


@dataclass(frozen=True)
class Head:
    """A last layer with its bias as one more column: float64, C×(d+1)."""

    matrix: Tensor

    @classmethod
    def of(cls, layer: LastLayer) -> "Head":
        """Return that of a model."""
        weight = layer.weight.detach().double()
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()
        return cls(torch.cat([weight, bias[:, None]], 1))

    def loss_gradient(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Gradient of the mean cross-entropy with respect to the matrix; float64, C×(d+1).

        ``inputs`` are float64, k×(d+1), the last column 1, and ``labels`` int64, k.
        """
        residuals = (inputs @ self.matrix.T).softmax(1)
        residuals -= F.one_hot(labels, len(self.matrix))
        return residuals.T @ inputs / len(inputs)


def with_constant(features: Tensor) -> Tensor:
    """Append a column of ones, which the bias multiplies."""
    return torch.cat([features, features.new_ones(len(features), 1)], 1)


def gains(gradients: Tensor, inputs: Tensor, validation_gradient: Tensor) -> Tensor:
    """How fast a step along the gradient of each example lowers the validation loss.

    The last layer's gradient of example e is δ_e ã_eᵀ, so that its product with the validation
    gradient G is δ_e · G ã_e, at no cost of memory.

    Parameters
    ----------
    gradients
        δ, with respect to the logits (p − y), k×C.
    inputs
        ã, of the last layer with a last column of ones, k×(d+1).
    validation_gradient
        G, C×(d+1).
    """
    return (gradients * (inputs @ validation_gradient.to(inputs.dtype).T)).sum(1)


def glister(
    head: Head,
    gradients: Tensor,
    inputs: Tensor,
    validation_inputs: Tensor,
    validation_labels: Tensor,
    groups: Tensor,
    shares: Tensor,
    gradient_updates: int,
    step_size: float,
) -> Tensor:
    """Choose the examples whose step of the last layer lowers the validation loss most.

    Once all k are chosen, the layer has taken the step η along their mean gradient. They are
    chosen between updates: each time those of highest gain (:func:`gains`) at the layer that the
    earlier updates have stepped to, where the validation gradient is taken anew. The gradients of
    the examples themselves stay those of the model, as in the paper.

    Parameters
    ----------
    head
        The last layer of the model.
    gradients, inputs
        Of the examples to choose from, as in :func:`gains`.
    validation_inputs, validation_labels
        ã and int64 labels of the validation data.
    groups, shares
        int64, n: the group of each example, from 0; and how many to choose of each group.
    gradient_updates
        How many; with as many as there are picks it is greedy one by one.
    step_size
        η.

    Returns
    -------
    Tensor
        int64: different rows, in the order of the updates.
    """
    total = int(shares.sum())
    matrix, held_out = head.matrix, validation_inputs.double()
    free = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
    chosen = torch.empty(0, dtype=torch.int64, device=inputs.device)
    for update in _updates_with_picks(shares, gradient_updates):
        due = shares * (update + 1) // gradient_updates - shares * update // gradient_updates
        gradient = Head(matrix).loss_gradient(held_out, validation_labels)
        gained = gains(gradients, inputs, gradient).masked_fill(~free, -torch.inf)
        picks = _best_of_groups(gained, groups, due.tolist())
        free[picks] = False
        chosen = torch.cat([chosen, picks])
        step = gradients[picks].double().T @ inputs[picks].double()
        matrix = matrix - step_size / total * step
    return chosen


def _updates_with_picks(shares: Tensor, gradient_updates: int) -> Iterable[int]:
    """Return the updates at which something is due; at the others nothing would change."""
    if gradient_updates <= int(shares.sum()):
        return range(gradient_updates)
    updates = {
        -(-pick * gradient_updates // share) - 1
        for share in shares.unique().tolist()
        for pick in range(1, share + 1)
    }
    return sorted(updates)


def _best_of_groups(gained: Tensor, groups: Tensor, due: list[int]) -> Tensor:
    """Return the ``due[g]`` examples of highest gain of each group g."""
    picks = []
    for group, count in enumerate(due):
        members = torch.nonzero(groups == group).flatten()
        picks.append(members[gained[members].topk(count).indices])
    return torch.cat(picks)
