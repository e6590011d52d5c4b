"""What the quadratic models of all regions share: estimates of g and h, smoothed."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from crest.errors import OrderError
from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import require_finite
from crest.regions.coverage import Coverage
from crest.regions.curvature import (
    Curvature,
    NoCurvatureError,
    dense,
    estimate_curvature,
    flatten,
)
from crest.regions.interval import check_interval
from crest.regions.quadratic import Average, QuadraticModel, Smoothing
from crest.selection.coresets import MiniBatchCoreset

if TYPE_CHECKING:
    from crest.methods.crest import CrestParameters


@dataclass(frozen=True)
class Estimates:
    """Smoothed g and h, the step of h's last estimate, ‖H_0‖ and ‖H_l‖."""

    smoothing: Smoothing
    step: int | None = None
    first_norm: float | None = None
    norm: float = 0.0


class QuadraticEstimator:
    """Estimates g and h on coresets (Eq. 6, 7), smooths them (Eq. 8, 9), and knows ‖H_0‖ and ‖H_l‖.

    They are over the parameters that crest.quadratic.parameters names; once it turns out that those
    of all have no curvature, over the last layer's alone.

    Parameters
    ----------
    generator
        On the CPU; shared with the method, which saves it.
    pause
        Called before each mini-batch of an estimate; what it raises ends the estimate.
    may_skip
        Whether a step may be one that a gradient scaler skipped.

    Attributes
    ----------
    products
        Hessian-vector products taken so far.
    follows_steps
        Whether g is the average of the gradients that training used.
    """

    def __init__(
        self,
        evaluator: FoldingEvaluator,
        parameters: "CrestParameters",
        generator: torch.Generator,
        pause: Callable[[], None],
        may_skip: bool = False,
    ) -> None:
        self._evaluator = evaluator
        self._generator = generator
        self._pause = pause
        self._may_skip = may_skip
        self._order = parameters.quadratic.order
        self._draws = parameters.curvature.hutchinson_draws
        self._minibatches = parameters.curvature.minibatches
        self._interval = parameters.curvature.interval
        self._decays = parameters.gradient.smoothing, parameters.curvature.smoothing
        self._coverage = Coverage(evaluator.model, parameters.quadratic.parameters)
        self.follows_steps = parameters.gradient.source == "training"
        self.products = 0
        self._estimates = self._none_yet()

    @property
    def outdated(self) -> bool:
        """Whether other parameters are trained now than g and h are over."""
        return self._coverage.changed

    def renew(self) -> None:
        """Begin anew, over the parameters that are trained now."""
        self._coverage.renew()
        self._estimates = self._none_yet()

    def weights(self) -> Tensor:
        """Return w_t, the covered parameters as one flat float32 vector."""
        return flatten(self._coverage.parameters)

    def check_interval(self, factor: float, left: int) -> int:
        """Return T1 = h · ‖H_0‖ / ‖H_l‖, from 1 to the steps that are left; 1 at first."""
        first_norm, norm = self._estimates.first_norm, self._estimates.norm
        return 1 if first_norm is None else check_interval(factor, first_norm, norm, left)

    def needed(self, step: int) -> int:
        """Return how many coresets an estimate takes at least; 0 where none is due."""
        return (self._minibatches or 1) if self._is_due(step) else 0

    def estimate(self, coresets: list[MiniBatchCoreset], step: int) -> Curvature | None:
        """Estimate g and h on the union of coresets; None where they are kept as they are."""
        if not self._is_due(step):
            return None
        generator = self._generator.get_state()
        with self._evaluator.folded():
            try:
                return self._estimate(coresets)
            except NoCurvatureError as error:
                self._fall_back(error, coresets, step)
            self._generator.set_state(generator)
            return self._estimate(coresets)

    def include(self, estimate: Curvature, step: int) -> None:
        """Smooth g and h (Eq. 8, 9), and note ‖H_l‖."""
        smoothing = self._estimates.smoothing.include_hessian(estimate.hessian)
        if not self.follows_steps or smoothing.gradients.count == 0:
            smoothing = smoothing.include_gradient(estimate.gradient)
        norm = self._evaluator.group.agree(float(smoothing.curvature.norm()))
        first = self._estimates.first_norm
        self._estimates = Estimates(smoothing, step, norm if first is None else first, norm)
        self.products += estimate.products

    def include_step(self) -> None:
        """Smooth g by the gradient that the optimiser has just used, unless that was skipped.

        Raises
        ------
        OrderError
            If the gradient is gone.
        """
        parts = self._gradient_of_step()
        if not (self._may_skip and self._is_skipped()):
            old = self._estimates
            smoothing = old.smoothing.include_gradient_of(parts)
            self._estimates = Estimates(smoothing, old.step, old.first_norm, old.norm)

    def model(self, loss: float) -> QuadraticModel:
        """Return F_l(δ) = L(w_l) + g·δ + ½ δ·(h ⊙ δ) at w_l = w_t, with L(w_l) given."""
        smoothed = self._estimates.smoothing
        return QuadraticModel(
            self.weights(), loss, smoothed.gradient, smoothed.curvature, self._order
        )

    def used(self) -> dict[str, str]:
        """Return what of the parameters is not what was asked for."""
        coverage = self._coverage
        changed = coverage.quadratic != coverage.asked
        return {"crest.quadratic.parameters": coverage.quadratic} if changed else {}

    def position(self) -> dict[str, Any]:
        """Return what an estimate changes before it is included, for :meth:`rewind`."""
        return {"coverage": self._coverage.state_dict(), "estimates": self._estimates}

    def rewind(self, position: dict[str, Any]) -> None:
        """Go back there, to other parameters if an estimate fell back to fewer."""
        if self._coverage.quadratic != position["coverage"]["quadratic"]:
            self._coverage.load_state_dict(position["coverage"])
        self._estimates = position["estimates"]

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and norms, and what they are of."""
        estimates = self._estimates
        return {
            "coverage": self._coverage.state_dict(),
            "gradients": dict(vars(estimates.smoothing.gradients)),
            "squares": dict(vars(estimates.smoothing.squares)),
            "step": estimates.step,
            "first_norm": estimates.first_norm,
            "norm": estimates.norm,
            "products": self.products,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        device = next(self._evaluator.model.parameters()).device
        self._coverage.load_state_dict(state["coverage"])
        averages = (_to(Average(**state[name]), device) for name in ("gradients", "squares"))
        norms = {name: state[name] for name in ("step", "first_norm", "norm")}
        self._estimates = Estimates(Smoothing(*averages), **norms)
        self.products = state["products"]

    def _none_yet(self) -> Estimates:
        return Estimates(Smoothing(*(Average(decay) for decay in self._decays)))

    def _is_due(self, step: int) -> bool:
        """Whether g and h are estimated anew where this region opens."""
        last = self._estimates.step
        return last is None or step - last >= self._interval

    def _estimate(self, coresets: list[MiniBatchCoreset]) -> Curvature:
        """Estimate g and h on the union of the coresets, or of the first few (Eq. 6, 7)."""
        return estimate_curvature(
            self._evaluator,
            coresets[: self._minibatches],
            self._generator,
            self._draws,
            self._pause,
            self._coverage.parameters,
        )

    def _fall_back(
        self, error: NoCurvatureError, coresets: list[MiniBatchCoreset], step: int
    ) -> None:
        """Cover fewer parameters, where those of all have no curvature."""
        evaluator = self._evaluator
        for coreset in coresets:  # a loss that is no number has no curvature either
            scored = evaluator.score(coreset.indices)
            require_finite(scored, step, coreset.region)
        self._coverage.fall_back(error, warn=evaluator.group.first)
        self._estimates = self._none_yet()

    def _gradient_of_step(self) -> list[Tensor]:
        """Return the gradient of each covered parameter, dense and in float32."""
        parameters = self._coverage.parameters
        gradients = [parameter.grad for parameter in parameters]
        if all(gradient is None for gradient in gradients):
            raise OrderError(
                "crest.gradient.source: training takes the gradient of the step, which is gone; "
                "report the step after the optimiser's and before the gradients are set to zero"
            )
        return [
            torch.zeros_like(parameter, dtype=torch.float32)
            if gradient is None
            else dense(gradient).float()
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]

    def _is_skipped(self) -> bool:
        """Whether a gradient scaler has skipped the step: if some gradient is not finite.

        Of all weights, as those of the others are scaled then, and not all finite ones the loss's.
        """
        weights = self._evaluator.model.parameters()
        # No sum with a number in it that is not finite is.
        grads = [weight.grad for weight in weights if weight.grad is not None]
        sums = [grad.sum(dtype=torch.float32) for grad in grads]
        return not math.isfinite(float(torch.stack(sums).sum()))


def _to(average: Average, device: torch.device) -> Average:
    """Return an average with a total of its own, which is written over."""
    if average.total is None:
        return average
    return replace(average, total=average.total.to(device, copy=True))
