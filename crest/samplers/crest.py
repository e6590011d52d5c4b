"""CREST: mini-batch coresets within regions where a quadratic model of the loss holds.

Algorithm 1 of Yang, Kang, Mirzasoleiman (ICML 2023), part by part; each docstring names
its equation.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import polars as pl
import torch
from torch import Tensor

from crest.artifacts import TABLES
from crest.devices.limits import require_memory
from crest.errors import Interrupted, OrderError, diverged
from crest.inference.folding import find_folds, folded
from crest.inference.forward import Look, look, require_finite
from crest.models.head import classes_of, last_layer_if_any
from crest.parameters.sections import CrestParameters, count_of, subset_size
from crest.regions.active import ActiveSet, LearnedExamples
from crest.regions.coverage import Coverage
from crest.regions.curvature import Curvature, NoCurvatureError, estimate_curvature, flatten
from crest.regions.interval import check_interval, minibatch_count, whole_subsets
from crest.regions.loss import LossFilter
from crest.regions.quadratic import Average, QuadraticModel, Smoothing, relative_error
from crest.regions.region import Region, load_region, region_state
from crest.samplers.base import Context, Record
from crest.samplers.example_tracker import ExampleTracker
from crest.samplers.limits import require_room_for_crest, require_room_for_distances
from crest.samplers.subsets import Subsets
from crest.selection.choices import find_choice, warn_of_choice
from crest.selection.choosing import choose_minibatch_coresets, select_minibatch_coresets
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.selection.gradients import find_proxy
from crest.selection.rows import CoresetRows
from crest.selection.shares import stratified_subset
from crest.selection.totals import with_effective_sizes


class Crest:
    """Yields the mini-batch coresets of Algorithm 1.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data, such as a subset smaller than the mini-batch.
    """

    def __init__(self, context: Context) -> None:
        examples = len(context.train)
        parameters = context.parameters.crest
        self._context = context
        self._parameters = parameters
        self._subset_size = subset_size(parameters, examples, context.batch_size)
        require_room_for_crest(parameters, examples, context.batch_size, self._subset_size)
        if parameters.choice != "balanced":
            device = context.precision.device
            require_room_for_distances("crest.subset_size", self._subset_size, device)
        self._focus_until = round(parameters.focus_until * context.steps)
        self._floor = max(self._subset_size, count_of(parameters.learned_floor, examples))
        self._proxy = find_proxy(parameters.proxy)
        self._choice = find_choice(parameters.choice)
        if context.group.first:
            warn_of_choice(parameters.choice, "crest.choice")
        self._coverage = Coverage(context.model, parameters.quadratic)
        self._folds = find_folds(
            context.model, context.train.inputs(torch.arange(min(2, examples)))
        )
        self._active = ActiveSet(examples)
        self._learned = LearnedExamples(parameters.learned_loss)
        self._looks = ExampleTracker(examples, errors=False)
        self._smoothing = _no_smoothing(parameters)
        self._subsets = Subsets(
            self._active,
            context.train.labels,
            classes_of(context.model),
            parameters,
            lambda: self._draw(),
            self._subset_size,
            context.generator,
            context.precision.device,
            context.may_skip,
        )
        self._filter = LossFilter()
        self._estimated_at: int | None = None  # step of the last estimate of h
        self._unused: Look | None = None  # of the last check, not selected from yet
        self._checked: Tensor | None = None  # losses of the last check's V_r, float64 r
        self._first_norm: float | None = None  # ‖H_0‖
        self._norm = 0.0  # ‖H_l‖
        self._region: Region | None = None
        self._seconds: dict[str, float] = {}
        self._counts = {"examples_looked_at": 0, "hessian_vector_products": 0}
        self._region_rows: list[dict[str, object]] = []
        self._coreset_rows = CoresetRows(context.train.labels)

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Train on one S_p, drawn at random from the P of the region that holds at this step.

        Selected as used, it is the next that no step has trained on.
        """
        self._exclude_learned(step)
        if self._coverage.changed:
            self._follow(step)
        if self._region is not None and self._is_check_due(self._region):
            self._check(self._region)
            if not self._holds(self._region):
                self._close_region(self._region, step)
        if self._region is None:
            self._region = self._open_region(step)
        if self._parameters.selection == "as_used":
            return self._next(self._region, step)
        coresets = self._region.coresets
        return coresets[_randint(len(coresets), self._context.generator)]

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Count the step towards the region's next check; take from it what is asked for."""
        assert self._region is not None, "update follows minibatch"
        self._subsets.remember_step(minibatch.indices, outputs)
        started = time.perf_counter()
        taken = self._parameters.gradient == "training"
        gradient = self._gradient_of_step() if taken else None
        self._region.steps += 1
        self._region.spend("train", seconds)
        if gradient is not None and not (self._context.may_skip and self._is_skipped()):
            self._smoothing = self._smoothing.include_gradient(gradient)
        if taken:
            self._region.spend("model", time.perf_counter() - started)

    def state_dict(self) -> dict[str, Any]:
        """Return V, the watched losses, the averages, the rows so far and the open region."""
        smoothing = self._smoothing
        return {
            "generator": self._context.generator.get_state(),
            "active": self._active.state_dict(),
            "learned": self._learned.state_dict(),
            "looks": self._looks.state_dict(),
            "coverage": self._coverage.state_dict(),
            "gradients": dict(vars(smoothing.gradients)),
            "squares": dict(vars(smoothing.squares)),
            "filter": dict(vars(self._filter)),
            "estimated_at": self._estimated_at,
            "checked": self._checked,
            "subsets": self._subsets.state_dict(),
            "unused": None if self._unused is None else self._unused.state_dict(),
            "first_norm": self._first_norm,
            "norm": self._norm,
            "seconds": self._seconds,
            "counts": self._counts,
            "region": None if self._region is None else region_state(self._region),
            "region_rows": self._region_rows,
            "coreset_rows": self._coreset_rows.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a region."""
        device = next(self._context.model.parameters()).device
        self._context.generator.set_state(state["generator"])
        self._active.load_state_dict(state["active"])
        self._learned.load_state_dict(state["learned"])
        self._looks.load_state_dict(state["looks"])
        self._coverage.load_state_dict(state["coverage"])
        averages = (Average(**state[name]) for name in ("gradients", "squares"))
        self._smoothing = Smoothing(*(_to(average, device) for average in averages))
        self._filter = LossFilter(**state["filter"])
        self._estimated_at = state["estimated_at"]
        self._checked = state["checked"]
        self._subsets.load_state_dict(state["subsets"])
        unused = state["unused"]
        self._unused = None if unused is None else Look(**unused).to(device)
        self._first_norm, self._norm = state["first_norm"], state["norm"]
        self._seconds, self._counts = state["seconds"], state["counts"]
        region = state["region"]
        self._region = None if region is None else load_region(region, device)
        self._region_rows = state["region_rows"]
        self._coreset_rows.load_state_dict(state["coreset_rows"])

    def record(self) -> Record:
        """Return the tables of the run, in which the open region ends with the last step."""
        rows, region = self._region_rows, self._region
        if region is not None:
            end = region.start_step + region.steps
            rows = [*rows, region.row(end, len(self._context.train))]
        labels, excluded_at = self._context.train.labels, self._active.excluded_at
        coresets = self._coreset_rows.frame()
        regions = pl.DataFrame(rows, schema=dict(TABLES["regions"]))
        parts = ("select", "model", "check")
        return Record(
            coresets=coresets,
            regions=with_effective_sizes(regions, coresets),
            looks=self._looks.frame(labels, "selection", excluded_at),
            seconds={part: float(regions[f"seconds_{part}"].sum()) for part in parts},
            counts=dict(self._counts),
            used=self._used(),
        )

    def _used(self) -> dict[str, str]:
        """Return the parameters that are not what was asked for."""
        coverage = self._coverage
        changed = coverage.quadratic != coverage.asked
        return {"crest.quadratic": coverage.quadratic} if changed else {}

    def _follow(self, step: int) -> None:
        """Let the model of the loss be over the parameters that are trained now."""
        if self._region is not None:
            self._close_region(self._region, step)
        self._coverage.renew()
        self._forget_curvature()

    def _forget_curvature(self) -> None:
        """Begin anew with g and h, whose parameters and so norms are others."""
        self._smoothing = _no_smoothing(self._parameters)
        self._estimated_at = self._first_norm = None

    def _open_region(self, step: int) -> Region:
        """Open region l at w_l: adapt T1 and P, select, model.

        If the run is to stop on the way, nothing has happened: a later run opens it all the same.
        """
        context, parameters = self._context, self._parameters
        number = len(self._region_rows)
        interval, count = self._adapt(step)
        generator, checked, counts = context.generator.get_state(), self._unused, dict(self._counts)
        dealt = self._subsets.dealt()
        try:
            with folded(context.model, self._folds):
                with self._timed("select"):
                    coresets, looks = self._select(number, count, step)
                with self._timed("model"):
                    estimate = (
                        self._estimate(coresets, step) if self._is_estimate_due(step) else None
                    )
        except Interrupted:
            context.generator.set_state(generator)
            self._unused, self._counts = checked, counts
            self._subsets.deal_from(dealt)
            raise
        losses = self._observe(looks, coresets, step)
        # The last check's look, where it was selected from, is in the filter already.
        known = 0 if checked is None else len(checked.indices)
        if not self._subsets.looks_are_of_all and self._checked is not None:
            losses, known = self._checked, len(self._checked)
        self._filter = self._filter.observe(losses[known:])
        with self._timed("model"):
            if estimate is not None:
                self._include(estimate, step)
            loss = float(losses.mean())
            if parameters.region_loss == "filtered":
                loss = self._filter.loss
            smoothed = self._smoothing
            model = QuadraticModel(
                self._weights(), loss, smoothed.gradient, smoothed.curvature, parameters.order
            )
        if not math.isfinite(loss):
            raise diverged(loss, step, number)
        seconds, self._seconds = self._seconds, {}
        return Region(number, step, interval, coresets, model, len(self._active), seconds=seconds)

    def _adapt(self, step: int) -> tuple[int, int]:
        """T1 ← h‖H_0‖/‖H_l‖ and P ← b·T1; T1 = 1 for the first region."""
        parameters = self._parameters
        interval, left = 1, self._context.steps - step
        if self._first_norm is not None:
            interval = check_interval(
                parameters.interval_factor, self._first_norm, self._norm, left
            )
        if parameters.selection == "as_used":
            interval = whole_subsets(interval, parameters.subset_coresets, left)
        return interval, minibatch_count(parameters.minibatch_factor, interval)

    def _next(self, region: Region, step: int) -> MiniBatchCoreset:
        """Return the next coreset that no step has trained on; select where there is none."""
        if region.used == len(region.coresets):
            with folded(self._context.model, self._folds), self._timed("select"):
                coresets, looks = self._select_one(region.number, len(region.coresets), step)
            self._observe(looks, coresets, step)
            region.coresets += coresets
            region.spend("select", self._seconds.pop("select"))
        region.used += 1
        return region.coresets[region.used - 1]

    def _select(
        self, region: int, count: int, step: int
    ) -> tuple[list[MiniBatchCoreset], list[Look]]:
        """Select what a region needs when it opens; also return what was seen."""
        parameters = self._parameters
        if parameters.selection == "ahead":
            return self._select_ahead(region, count, step)
        coresets, looks = self._select_one(region, 0, step)
        needed = parameters.curvature_minibatches or 1
        while self._is_estimate_due(step) and len(coresets) < needed:
            more, seen = self._select_one(region, len(coresets), step)
            coresets, looks = coresets + more, looks + seen
        return coresets, looks

    def _select_ahead(
        self, region: int, count: int, step: int
    ) -> tuple[list[MiniBatchCoreset], list[Look]]:
        """Select P mini-batch coresets (Eq. 11), from one V_p each or as many as asked for."""
        context, each = self._context, self._parameters.subset_coresets
        of_each = 24 * context.batch_size + 32 * self._subset_size // each
        what = f"the {count} mini-batches of a region"
        require_memory("crest.minibatch_factor", count * of_each, what)
        subsets = [self._take(step) for _ in range(math.ceil(count / each))]
        looks: list[Look] = []

        def observe(shown: Look) -> None:
            self._stop_if_asked()
            looks.append(shown.without_features())

        coresets = select_minibatch_coresets(
            context.model,
            context.train,
            subsets,
            context.batch_size,
            self._proxy,
            self._choice,
            context.precision,
            context.generator,
            region,
            observe,
            each,
            context.group,
        )
        self._counts["examples_looked_at"] += len(subsets) * self._subset_size
        return [self._subsets.weigh(coreset) for coreset in coresets[:count]], looks

    def _select_one(
        self, region: int, first: int, step: int
    ) -> tuple[list[MiniBatchCoreset], list[Look]]:
        """Select from one subset: the last check's, if nothing was selected from it yet."""
        context = self._context
        shown, looks = self._candidates(step)
        gradients = self._proxy(shown, last_layer_if_any(context.model))
        each = self._parameters.subset_coresets
        coresets = choose_minibatch_coresets(
            shown, gradients, 1, context.batch_size, self._choice, context.generator, each
        )
        numbered = [
            replace(self._subsets.weigh(coreset), region=region, number=first + place)
            for place, coreset in enumerate(coresets)
        ]
        return numbered, [shown.without_features() for shown in looks]

    def _candidates(self, step: int) -> tuple[Look, list[Look]]:
        """Return what is known of the next V_p, and what of it was looked at for that."""
        unused, self._unused = self._unused, None
        if unused is not None:
            return unused, [unused]
        return self._subsets.show(self._take(step), self._look_at)

    def _take(self, step: int) -> Tensor:
        """Return the next V_p; its round has no focus after ``focus_until`` of the steps."""
        return self._subsets.take(alike=step >= self._focus_until)

    def _look_at(self, indices: Tensor) -> Look:
        context = self._context
        self._counts["examples_looked_at"] += len(indices)
        return look(
            context.model,
            context.train,
            indices,
            context.precision,
            group=context.group,
            features=self._parameters.proxy != "logits",
        )

    def _draw(self) -> Tensor:
        """Draw a random subset V_r of the active examples, or V_p where these are not of rounds."""
        size, generator = self._subset_size, self._context.generator
        if self._parameters.draw == "stratified":
            labels = self._context.train.labels
            return stratified_subset(self._active.members(), labels, size, generator)
        return self._active.draw(size, generator)

    def _is_estimate_due(self, step: int) -> bool:
        """Whether g and h are estimated anew at this region, or kept as they are."""
        last = self._estimated_at
        return last is None or step - last >= self._parameters.curvature_interval

    def _estimate(self, coresets: list[MiniBatchCoreset], step: int) -> Curvature:
        """Estimate g and h, of fewer parameters where those of all cannot be had."""
        context = self._context
        generator = context.generator.get_state()
        try:
            return self._estimate_covered(coresets)
        except NoCurvatureError as error:
            for coreset in coresets:  # a loss that is no number has no curvature either
                shown = look(context.model, context.train, coreset.indices, context.precision)
                require_finite(shown, step, coreset.region)
            self._coverage.fall_back(error, told=context.group.first)
        self._forget_curvature()
        context.generator.set_state(generator)
        return self._estimate_covered(coresets)

    def _estimate_covered(self, coresets: list[MiniBatchCoreset]) -> Curvature:
        """Estimate g and h on the union of the coresets, or of the first few (Eq. 6, 7)."""
        context, parameters = self._context, self._parameters
        return estimate_curvature(
            context.model,
            context.train,
            coresets[: parameters.curvature_minibatches],
            context.precision,
            context.generator,
            parameters.hutchinson_draws,
            self._stop_if_asked,
            self._coverage.parameters,
            context.group,
        )

    def _include(self, estimate: Curvature, step: int) -> None:
        """Smooth g and h (Eq. 8, 9), and note ‖H_l‖."""
        smoothing = self._smoothing.include_hessian(estimate.hessian)
        if self._parameters.gradient == "coresets" or smoothing.gradients.count == 0:
            smoothing = smoothing.include_gradient(estimate.gradient)
        self._smoothing = smoothing
        self._counts["hessian_vector_products"] += estimate.products
        self._estimated_at = step
        self._norm = self._context.group.agree(float(smoothing.curvature.norm()))
        if self._first_norm is None:
            self._first_norm = self._norm

    def _is_skipped(self) -> bool:
        """Whether a gradient scaler has skipped the step: if some gradient is not finite.

        Of all weights, as those of the others are scaled then, and not all finite ones the loss's.
        """
        weights = self._context.model.parameters()
        # No sum with a number in it that is not finite is.
        grads = [weight.grad for weight in weights if weight.grad is not None]
        sums = [grad.sum(dtype=torch.float32) for grad in grads]
        return not math.isfinite(float(torch.stack(sums).sum()))

    def _gradient_of_step(self) -> Tensor:
        """The gradient that the optimiser has just used."""
        if all(parameter.grad is None for parameter in self._coverage.parameters):
            raise OrderError(
                "crest.gradient: training takes the gradient of the step, which is gone; report "
                "the step after the optimiser's and before the gradients are set to zero"
            )
        return flatten(
            [
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                for parameter in self._coverage.parameters
            ]
        )

    def _observe(self, looks: list[Look], coresets: list[MiniBatchCoreset], step: int) -> Tensor:
        """Watch the losses of all V_p, and keep the rows of their coresets; returns the losses."""
        for shown in looks:
            losses = shown.losses.cpu()
            if not math.isfinite(float(losses.sum())):
                require_finite(shown, step, coresets[0].region)
            if self._parameters.learned_window:
                self._learned.watch(shown.indices, losses)
            self._looks.record(shown.indices, shown.correct, losses, step)
            self._subsets.remember(shown)
        self._coreset_rows.add(coresets)
        return torch.cat([torch.empty(0), *(shown.losses.cpu() for shown in looks)]).double()

    def _stop_if_asked(self) -> None:
        if signal_number := self._context.stop():
            raise Interrupted(signal_number)

    def _is_check_due(self, region: Region) -> bool:
        """Whether T1 steps went by since the region opened or was last checked."""
        return region.steps >= (region.checks + 1) * region.interval

    def _check(self, region: Region) -> None:
        """Compare F_l(δ) with the loss on a fresh V_r (Eq. 10)."""
        context = self._context
        with self._timed("check"), folded(context.model, self._folds):
            shown = self._look_at(self._draw())
            predicted = region.model(self._weights())
            measured = require_finite(shown, region.start_step + region.steps, region.number)
            rho = relative_error(predicted, measured)
            region.rho = context.group.agree(rho)
            self._filter = self._filter.check(shown.losses)
        self._checked = shown.losses.cpu().double()
        if self._parameters.selection == "as_used" and not self._subsets.in_rounds:
            self._unused = shown
        self._subsets.remember(shown)
        region.checks += 1
        region.spend("check", self._seconds.pop("check"))

    def _holds(self, region: Region) -> bool:
        """Whether the quadratic model is still valid, ρ ≤ τ."""
        return region.rho is not None and region.rho <= self._parameters.threshold

    def _exclude_learned(self, step: int) -> None:
        """Every T2 steps, drop the examples whose every seen loss was below α."""
        window = self._parameters.learned_window
        if window and step and step % window == 0:
            with self._timed("select"):
                learned = self._learned.close_window(self._active, self._floor)
                self._active.exclude(learned, step)

    def _close_region(self, region: Region, step: int) -> None:
        self._region_rows.append(region.row(step, len(self._context.train)))
        self._region = None

    def _weights(self) -> Tensor:
        return flatten(self._coverage.parameters)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] = self._seconds.get(part, 0.0) + time.perf_counter() - start


def _no_smoothing(parameters: CrestParameters) -> Smoothing:
    return Smoothing(
        Average(parameters.gradient_smoothing), Average(parameters.curvature_smoothing)
    )


def _to(average: Average, device: torch.device) -> Average:
    return average if average.total is None else replace(average, total=average.total.to(device))


def _randint(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (1,), generator=generator))
