"""What is remembered of each example: its last loss, and what its rule asks for beside it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from crest.samplers.rules.rule import Observed, Rule


class LossHistory:
    """The last loss of each of n examples, 4·n bytes, and 4·n more for each column of the rule.

    Attributes
    ----------
    losses
        float32, n: NaN where there is none.
    columns
        float32, n each, by name.
    """

    def __init__(self, count: int, rule: Rule) -> None:
        self._rule = rule
        self.losses = torch.full((count,), torch.nan)
        self.columns = {name: torch.full((count,), first) for name, first in rule.columns.items()}

    def remember(self, indices: Tensor, losses: Tensor) -> None:
        """Keep the losses of batches, in their order.

        Parameters
        ----------
        indices
            Integers, k×m; those of a batch are all different.
        losses
            float32, k×m; NaN where one got lost, which is left out.
        """
        if self._rule.remember is not None:
            for batch, values in zip(indices.long(), losses, strict=True):
                known = ~values.isnan()
                self._rule.remember(self.columns, batch[known], values[known])
        keep_last(self.losses, indices, losses)

    def observed(self, progress: float, rounds: int, groups: Tensor | None) -> Observed:
        """Return what a rule is told at a round's start."""
        return Observed(self.losses, self.columns, progress, rounds, groups)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        return {
            "losses": self.losses.clone(),
            "columns": {name: values.clone() for name, values in self.columns.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        self.losses = state["losses"].clone()
        self.columns = {name: values.clone() for name, values in state["columns"].items()}


def keep_last(target: Tensor, indices: Tensor, losses: Tensor) -> None:
    """Write losses into a target, in place; k×m both, NaN where one got lost."""
    indices, losses = indices.flatten(), losses.flatten()
    known = ~losses.isnan()
    if not bool(known.all()):
        indices, losses = indices[known], losses[known]
    # NumPy's assignment keeps the last of an index that comes twice, torch's any of them.
    target.numpy()[indices.numpy()] = losses.numpy()
