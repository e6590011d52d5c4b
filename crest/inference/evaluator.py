"""A model on a set of examples, as everything that chooses, checks and measures evaluates it."""

from dataclasses import dataclass

from torch import Tensor, nn

from crest.data.prepared import Split
from crest.devices.distributed import ALONE, Group
from crest.devices.precision import Precision
from crest.inference.forward import ForwardPass, forward


@dataclass(frozen=True)
class Evaluator:
    """Scores examples through a model, in eval mode and without augmentation.

    ``examples`` is the split that indices are of; ``group`` the processes that share the work and
    all have the result.
    """

    model: nn.Module
    examples: Split
    precision: Precision
    group: Group = ALONE

    def score(self, indices: Tensor, features: bool = True) -> ForwardPass:
        """Score examples by one forward pass (int64 k, on the CPU), see :func:`forward`."""
        return forward(
            self.model,
            self.examples,
            indices,
            self.precision,
            group=self.group,
            features=features,
        )
