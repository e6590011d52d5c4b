"""Algorithm 1 of Yang, Kang, Mirzasoleiman (ICML 2023), line by line.

    T1 ← 1, P ← b, V ← all examples
    for t = 0 … N − 1:
        every T2 steps: V ← V without the learned examples
        every T1 steps: ρ ← |F_l(δ) − L_r(w_l + δ)| / L_r(w_l + δ)                          (Eq. 10)
        if ρ > τ, or t = 0, a region opens at w_l = w_t:
            T1 ← h ‖H_0‖ / ‖H_l‖ and P ← b T1, but for the first
            S_1 … S_P ← mini-batch coresets of random subsets V_1 … V_P of V                (Eq. 11)
            g, h ← gradient and Hessian diagonal on their union, smoothed                (Eq. 6 – 9)
            F_l(δ) = L(w_l) + g·δ + ½ δ·(h ⊙ δ)
        train on one of S_1 … S_P

What is here is the order of things; g and h are kept in :mod:`~crest.samplers.crest.quadratic`,
coresets come from :mod:`~crest.samplers.crest.supply`, V from :mod:`~crest.samplers.pool`.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from torch import Tensor

from crest.artifacts import TABLES
from crest.errors import Interrupted, diverged
from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import require_finite
from crest.regions.curvature import Curvature
from crest.regions.interval import minibatch_count
from crest.regions.loss import OpeningLoss
from crest.regions.quadratic import relative_error
from crest.regions.region import Region, load_region, region_state
from crest.samplers.base import Context, Record
from crest.samplers.crest.quadratic import QuadraticEstimator
from crest.samplers.crest.subsets import Subsets
from crest.samplers.crest.supply import Ahead, OnDemand, Selection, Supply
from crest.samplers.limits import require_room_for_crest
from crest.samplers.pool import Pool
from crest.samplers.selector import selector_of
from crest.samplers.sizes import count_of, subset_size
from crest.selection.choices import warn_of_choice
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.selection.rows import CoresetRows
from crest.selection.totals import with_effective_sizes

if TYPE_CHECKING:
    from crest.methods.crest import CrestParameters


class Crest:
    """Yields the mini-batch coresets of Algorithm 1.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data, such as a subset smaller than the mini-batch.
    """

    def __init__(self, context: "Context[CrestParameters]") -> None:
        parameters, labels = context.parameters, context.train.labels
        size = subset_size(parameters, len(labels), context.batch_size)
        require_room_for_crest(parameters, len(labels), context.batch_size, size)
        selector = selector_of(
            "crest",
            parameters.proxy,
            parameters.choice,
            FoldingEvaluator.of(context.evaluator),
            (context.batch_size, size),
            context.generator,
            parameters.subset_coresets,
        )
        if context.group.first:
            warn_of_choice(parameters.choice, "crest.choice")
        evaluator = selector.evaluator
        self._context = context
        self._evaluator = evaluator
        self._threshold = parameters.threshold  # τ
        self._interval_factor = parameters.interval_factor  # h
        self._minibatch_factor = parameters.minibatch_factor  # b
        self._pool = Pool(
            labels,
            parameters.learned.loss,
            parameters.learned.window,
            max(size, count_of(parameters.learned.floor, len(labels))),
        )
        self._subsets = Subsets(context, parameters, evaluator, self._pool.active, size)
        self._supply: Supply = (
            Ahead(self._subsets, selector, size, context.pause)
            if parameters.selection == "ahead"
            else OnDemand(self._subsets, selector, self._observe)
        )
        self._quadratic = QuadraticEstimator(
            evaluator, parameters, context.generator, context.pause, context.may_skip
        )
        self._loss = OpeningLoss(parameters.quadratic.loss == "filtered", self._subsets.scores_all)
        self._region: Region | None = None
        self._drawn = 0  # steps whose mini-batch was drawn
        self._seconds: dict[str, float] = {}  # of the region to come, by part
        self._region_rows: list[dict[str, Any]] = []
        self._coreset_rows = CoresetRows(labels)

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Return what to train on in step t = ``step``, by the lines of Algorithm 1."""
        self._subsets.quality.find()  # once, and not in the time of a region
        if self._pool.is_window_over(step):  # every T2 steps
            with self._timed("select"):
                self._pool.exclude_learned(step)
        if self._quadratic.outdated:
            self._end_region(step)
            self._quadratic.renew()
        if self._region is not None and self._region.check_due:  # every T1 steps
            self._region.rho = self._check(self._region)
            if not self._region.rho <= self._threshold:
                self._end_region(step)
        if self._region is None:
            self._region = self._open_region(step)
        minibatch = self._supply.next(self._region, step)
        self._drawn = step + 1
        return minibatch

    def upcoming(self) -> Tensor | None:
        """Return the next mini-batch; None where a check, a region or a selection comes first."""
        region = self._region
        if region is None or self._quadratic.outdated:
            return None
        return None if region.is_checked_at(self._drawn) else self._supply.upcoming(region)

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Count the step towards the region's next check; take from it what is asked for."""
        region = self._region
        assert region is not None, "update follows minibatch"
        self._subsets.remember_step(minibatch.indices, outputs)
        if self._quadratic.follows_steps:
            started = time.perf_counter()
            self._quadratic.include_step()
            region.spend("model", time.perf_counter() - started)
        region.steps += 1
        if minibatch.region == region.number:
            region.spend("train", seconds)
        else:  # drawn ahead, and another was opened since
            row = self._region_rows[minibatch.region]
            row["seconds_train"] += seconds

    def _check(self, region: Region) -> float:
        """Return ρ = |F_l(δ) − L_r(w_l + δ)| / L_r(w_l + δ), with L_r the loss on V_r (Eq. 10)."""
        with self._timed("check"):
            scored = self._subsets.score(self._subsets.draw())
            predicted = region.model(self._quadratic.weights())
            measured = require_finite(scored, region.start_step + region.steps, region.number)
            losses = scored.smoothed_losses(self._evaluator.label_smoothing)
            if losses is not scored.losses:
                measured = float(losses.double().mean())
            rho = self._evaluator.group.agree(relative_error(predicted, measured))
            self._loss.check(losses)
            self._supply.check(scored)
            self._subsets.remember(scored)
        region.checks += 1
        return rho

    def _open_region(self, step: int) -> Region:
        """Open region l at w_l = w_t: T1, P, S_1 … S_P, g, h and F_l.

        If the run is to stop on the way, nothing has happened: a later run opens it all the same.
        """
        number = len(self._region_rows)
        interval, count = self._adapt(step)
        with self._as_if_never_begun():
            selection, estimate = self._select_and_estimate(number, count, step)
        losses = self._observe(selection, step)
        with self._timed("model"):
            if estimate is not None:
                self._quadratic.include(estimate, step)
            loss = self._loss.open(losses, selection.checked)
            model = self._quadratic.model(loss)
        if not math.isfinite(loss):
            raise diverged(loss, step, number)
        seconds, self._seconds = self._seconds, {}
        active = len(self._pool.active)
        return Region(number, step, interval, selection.coresets, model, active, seconds=seconds)

    def _adapt(self, step: int) -> tuple[int, int]:
        """T1 ← h ‖H_0‖ / ‖H_l‖ and P ← b T1; T1 = 1 for the first region."""
        left = self._context.steps - step
        interval = self._quadratic.check_interval(self._interval_factor, left)
        interval = self._supply.interval(interval, left)
        return interval, minibatch_count(self._minibatch_factor, interval)

    def _select_and_estimate(
        self, region: int, count: int, step: int
    ) -> tuple[Selection, Curvature | None]:
        """Select P coresets (Eq. 11), and estimate g and h on their union (Eq. 6, 7)."""
        with self._timed("select"):
            selection = self._supply.select(region, count, self._quadratic.needed(step), step)
        with self._timed("model"):
            return selection, self._quadratic.estimate(selection.coresets, step)

    @contextmanager
    def _as_if_never_begun(self) -> Iterator[None]:
        """Undo what selecting and estimating change where the run is asked to stop within."""
        generator = self._context.generator.get_state()
        supply, quadratic = self._supply.position(), self._quadratic.position()
        try:
            yield
        except Interrupted:
            self._context.generator.set_state(generator)
            self._supply.rewind(supply)
            self._quadratic.rewind(quadratic)
            raise

    def _observe(self, selection: Selection, step: int) -> Tensor:
        """Record losses of the V_p and rows of their coresets.

        Returns those whose mean is descended, with smoothed labels where these are; float64.
        """
        parts: list[Tensor] = []
        for scored in selection.passes:
            losses = scored.losses.cpu()
            if not math.isfinite(float(losses.sum())):
                require_finite(scored, step, selection.coresets[0].region)
            self._pool.observe(scored, losses, step)
            self._subsets.remember(scored)
            parts.append(scored.smoothed_losses(self._evaluator.label_smoothing).cpu())
        self._coreset_rows.add(selection.coresets)
        return torch.cat(parts).double() if parts else torch.empty(0, dtype=torch.float64)

    def _end_region(self, step: int) -> None:
        if self._region is not None:
            self._region_rows.append(self._region.row(step, len(self._context.train)))
            self._region = None

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Count the time of a block for the open region, or for the one to come."""
        started = time.perf_counter()
        yield
        seconds = self._seconds if self._region is None else self._region.seconds
        seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - started

    def record(self) -> Record:
        """Return the tables of the run, in which the open region ends with the last step."""
        rows, region = self._region_rows, self._region
        quality = self._subsets.quality
        if region is not None:
            rows = [*rows, region.row(self._drawn, len(self._context.train))]
        coresets = self._coreset_rows.frame()
        regions = pl.DataFrame(rows, schema=dict(TABLES["regions"]))
        parts = ("select", "model", "check")
        return Record(
            coresets=coresets,
            regions=with_effective_sizes(regions, coresets),
            scored=self._pool.frame(),
            seconds={part: float(regions[f"seconds_{part}"].sum()) for part in parts}
            | quality.took(),
            counts={
                "examples_scored": self._subsets.examples_scored + quality.scored,
                "hessian_vector_products": self._quadratic.products,
            },
            used=self._quadratic.used() | quality.used(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return V, the estimates, the supply, the open region and the rows so far."""
        return {
            "generator": self._context.generator.get_state(),
            "pool": self._pool.state_dict(),
            "supply": self._supply.state_dict(),
            "quadratic": self._quadratic.state_dict(),
            "loss": self._loss.state_dict(),
            "region": None if self._region is None else region_state(self._region),
            "drawn": self._drawn,
            "seconds": self._seconds,
            "region_rows": self._region_rows,
            "coreset_rows": self._coreset_rows.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a region."""
        self._context.generator.set_state(state["generator"])
        self._pool.load_state_dict(state["pool"])
        self._supply.load_state_dict(state["supply"])
        self._quadratic.load_state_dict(state["quadratic"])
        self._loss.load_state_dict(state["loss"])
        region, device = state["region"], next(self._context.model.parameters()).device
        self._region = None if region is None else load_region(region, device)
        self._drawn = state["drawn"]
        self._seconds = state["seconds"]
        self._region_rows = state["region_rows"]
        self._coreset_rows.load_state_dict(state["coreset_rows"])
