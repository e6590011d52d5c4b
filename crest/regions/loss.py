"""L(w_l), the loss where a region opens, when few examples are looked at there."""

from dataclasses import dataclass, replace

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


def _mean(losses: Tensor) -> tuple[float, float]:
    """Mean of the losses and its sampling variance."""
    measured = losses.double()
    return float(measured.mean()), float(measured.var()) / len(measured)


def _step(average: float, value: float, share: float) -> float:
    return average + share * (value - average)
