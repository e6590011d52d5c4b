"""L(w_l), the loss where a region opens, when few examples are looked at there."""

from dataclasses import dataclass, replace

from torch import Tensor

# Of the averages of squares, over checks.
DECAY = 0.9


@dataclass(frozen=True)
class LossFilter:
    """Weighs the loss that a subset showed against what the last region's model predicts.

    A Kalman filter of one number in its steady state. The innovation e = L_r − F(δ) of a check is
    the sampling error of L_r, of variance R, plus the error of the prediction, of variance M, so
    that M = S − R with S the mean of e². Where examples seen at w_l have a mean loss L_s with
    sampling variance R_s, the best estimate is F(δ) + M/(M + R_s)·(L_s − F(δ)). Sampling variances
    are those of the losses over their number; S and R are averages over the checks so far.
    """

    squared_innovation: float = 0.0
    sampling_variance: float = 0.0
    checks: int = 0

    def include(self, predicted: float, losses: Tensor) -> "LossFilter":
        """Return the filter after one more check; ``losses`` are those of its subset."""
        measured = losses.double()
        variance = float(measured.var()) / len(measured)
        squared = (float(measured.mean()) - predicted) ** 2
        # Plain averages at first, so that the first check counts no more than the others.
        share = max(1.0 - DECAY, 1.0 / (self.checks + 1))
        return replace(
            self,
            squared_innovation=_step(self.squared_innovation, squared, share),
            sampling_variance=_step(self.sampling_variance, variance, share),
            checks=self.checks + 1,
        )

    def estimate(self, predicted: float, losses: Tensor) -> float:
        """Return L(w_l) from what the last region predicts and the losses of the examples seen."""
        measured = losses.double()
        variance = float(measured.var()) / len(measured)
        error = max(0.0, self.squared_innovation - self.sampling_variance)
        gain = error / (error + variance) if error + variance > 0.0 else 1.0
        return predicted + gain * (float(measured.mean()) - predicted)


def _step(average: float, value: float, share: float) -> float:
    return average + share * (value - average)
