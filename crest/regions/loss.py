"""L(w_l), the loss where a region opens, when few examples are scored there."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

# Of the averages of squares, over checks.
DECAY = 0.9


@dataclass(frozen=True)
class LossFilter:
    """Weighs the losses that a subset shows against those that earlier subsets showed.

    A Kalman filter of a loss that wanders: ``loss`` is the estimate L and ``variance`` its own. Of
    a check, the innovation e = L_r − L is the sampling error of L_r, of variance R, plus what L
    was wrong by, of variance M, so that M = S − R with S the mean of e². The loss of examples seen
    at the same weights, L_s with sampling variance R_s, then moves L by M/(M + R_s)·(L_s − L).
    Sampling variances are those of the losses over their number; S and R are averages over the
    checks so far. What the quadratic model predicts does not enter: as a guess of the next loss it
    was measured to be worse than the last one (docs/performance.md).
    """

    loss: float = 0.0
    variance: float = float("inf")
    squared_innovation: float = 0.0
    sampling_variance: float = 0.0
    checks: int = 0

    def check(self, losses: Tensor) -> "LossFilter":
        """Return the filter after losses (float, k) at weights that have moved since the last."""
        mean, variance = _mean(losses)
        # Plain averages at first, so that the first check counts no more than the others.
        share = max(1.0 - DECAY, 1.0 / (self.checks + 1))
        squared = _step(self.squared_innovation, (mean - self.loss) ** 2, share)
        sampling = _step(self.sampling_variance, variance, share)
        moved = replace(
            self,
            variance=max(0.0, squared - sampling),
            squared_innovation=squared,
            sampling_variance=sampling,
            checks=self.checks + 1,
        )
        return moved.observe(losses)

    def observe(self, losses: Tensor) -> "LossFilter":
        """Return the filter after losses (float, k, perhaps none) at the weights of the last."""
        if not len(losses):
            return self
        mean, variance = _mean(losses)
        if self.variance == float("inf"):
            return replace(self, loss=mean, variance=variance)
        both = self.variance + variance
        gain = self.variance / both if both > 0.0 else 1.0
        return replace(
            self, loss=self.loss + gain * (mean - self.loss), variance=(1.0 - gain) * self.variance
        )


class OpeningLoss:
    """L(w_l), estimated from the losses that are known where a region opens.

    Parameters
    ----------
    filtered
        Whether the losses of checks before count too, by a :class:`LossFilter`.
    of_all
        Whether what is scored where a region opens stands for all of V. Where it does not, the
        last check's losses do, at the same weights.
    """

    def __init__(self, filtered: bool, of_all: bool) -> None:
        self._filtered = filtered
        self._of_all = of_all
        self._filter = LossFilter()
        self._checked: Tensor | None = None  # losses of the last check's V_r, float64 r

    def check(self, losses: Tensor) -> None:
        """Take note of the losses (float32 r) of a check's V_r."""
        self._filter = self._filter.check(losses)
        self._checked = losses.cpu().double()

    def open(self, losses: Tensor, checked: int) -> float:
        """Return L(w_l).

        ``losses``, float64 k, are those scored where the region opens, of which the first
        ``checked`` are the last check's.
        """
        if not self._of_all and self._checked is not None:
            losses, checked = self._checked, len(self._checked)
        self._filter = self._filter.observe(losses[checked:])
        return self._filter.loss if self._filtered else float(losses.mean())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        return {"filter": dict(vars(self._filter)), "checked": self._checked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self._filter, self._checked = LossFilter(**state["filter"]), state["checked"]


def _mean(losses: Tensor) -> tuple[float, float]:
    """Mean of the losses and its sampling variance."""
    measured = losses.double()
    return float(measured.mean()), float(measured.var()) / len(measured)


def _step(average: float, value: float, share: float) -> float:
    return average + share * (value - average)
