"""The loss of a mini-batch that a step descends."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from crest.data.prepared import Inputs
from crest.devices.precision import Precision
from crest.training.mixing import Targets

# From inputs and what they are trained towards to what is descended, the losses and the logits.
ComputeLosses = Callable[..., tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Losses:
    """Computes losses of inputs by a model, in whatever mode it is.

    ``label_smoothing`` is that of what is descended.
    """

    model: nn.Module
    precision: Precision
    label_smoothing: float = 0.0

    def __call__(self, inputs: Inputs, *targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each summand of what is descended, the losses and the logits.

        ``targets`` as :attr:`crest.training.mixing.Targets.tensors`. The losses, float32 k, are the
        cross-entropies with each own label, without label smoothing; the logits are float32 k×C.
        """
        with self.precision.autocast():
            logits = self.model(inputs)
        logits = logits.float()
        towards = Targets(*targets)
        losses = F.cross_entropy(logits, towards.labels, reduction="none")
        own = losses
        if self.label_smoothing:
            own = self._smoothed(logits, towards.labels)
        descended = own * towards.weights
        if towards.other_labels is not None and towards.other_weights is not None:
            others = self._smoothed(logits, towards.other_labels)
            descended = descended + others * towards.other_weights
        return descended, losses, logits

    def _smoothed(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(
            logits, labels, reduction="none", label_smoothing=self.label_smoothing
        )
