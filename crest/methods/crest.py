"""CREST: mini-batch coresets within regions where a quadratic model of the loss holds.

Algorithm 1 of Yang, Kang, Mirzasoleiman (ICML 2023), part by part; each docstring names
its equation.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import torch
from torch import Tensor

from crest.artifacts import TABLES
from crest.config import count_of, subset_size
from crest.difficulty import ExampleTracker
from crest.errors import Interrupted, diverged
from crest.inference import Look, look
from crest.methods.base import Context, Record
from crest.regions.active import ActiveSet, LearnedExamples
from crest.regions.curvature import Curvature, estimate_curvature, flatten, trained_parameters
from crest.regions.interval import check_interval, minibatch_count
from crest.regions.quadratic import QuadraticModel, Smoothing, relative_error
from crest.selection.coresets import MiniBatchCoreset, coreset_rows, select_minibatch_coresets
from crest.selection.gradients import find_proxy
from crest.training.state import load_table_state, table_state


@dataclass
class Region:
    """An open region: what was selected for it, its model of the loss, and how it goes."""

    number: int
    start_step: int
    interval: int
    coresets: list[MiniBatchCoreset]
    model: QuadraticModel
    active: int
    steps: int = 0
    checks: int = 0
    rho: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)


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
        self._floor = max(self._subset_size, count_of(parameters.learned_floor, examples))
        self._proxy = find_proxy(parameters.proxy)
        self._active = ActiveSet(examples)
        self._learned = LearnedExamples(examples, parameters.learned_loss)
        self._looks = ExampleTracker(examples)
        self._smoothing = Smoothing(parameters.gradient_smoothing, parameters.curvature_smoothing)
        self._first_norm: float | None = None  # ‖H_0‖
        self._norm = 0.0  # ‖H_l‖
        self._region: Region | None = None
        self._seconds: dict[str, float] = {}
        self._region_rows: list[dict[str, object]] = []
        self._coreset_rows: list[pl.DataFrame] = []

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Train on one S_p, drawn at random from the P of the region that holds at this step."""
        self._exclude_learned(step)
        if self._region is not None and self._is_check_due(self._region):
            self._check(self._region)
            if not self._holds(self._region):
                self._close_region(self._region, step)
        if self._region is None:
            self._region = self._open_region(step)
        coresets = self._region.coresets
        return coresets[_randint(len(coresets), self._context.generator)]

    def update(self, step: int, seconds: float) -> None:
        """Count the step towards the region's next check."""
        assert self._region is not None, "update follows minibatch"
        self._region.steps += 1
        self._region.seconds["train"] = self._region.seconds.get("train", 0.0) + seconds

    def state(self) -> dict[str, Any]:
        """Return V, the watched losses, the averages, the rows so far and the open region."""
        smoothing = self._smoothing
        return {
            "generator": self._context.generator.get_state(),
            "active": self._active.state(),
            "learned": self._learned.state(),
            "looks": self._looks.state(),
            "gradient_sum": smoothing.gradient_sum,
            "square_sum": smoothing.square_sum,
            "estimates": smoothing.estimates,
            "first_norm": self._first_norm,
            "norm": self._norm,
            "seconds": self._seconds,
            "region": None if self._region is None else _region_state(self._region),
            "region_rows": self._region_rows,
            "coreset_rows": table_state(self._coreset_rows),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a region."""
        device = next(self._context.model.parameters()).device
        self._context.generator.set_state(state["generator"])
        self._active.load_state(state["active"])
        self._learned.load_state(state["learned"])
        self._looks.load_state(state["looks"])
        self._smoothing = replace(
            self._smoothing,
            gradient_sum=_to(state["gradient_sum"], device),
            square_sum=_to(state["square_sum"], device),
            estimates=state["estimates"],
        )
        self._first_norm, self._norm = state["first_norm"], state["norm"]
        self._seconds = state["seconds"]
        region = state["region"]
        self._region = None if region is None else _load_region(region, device)
        self._region_rows = state["region_rows"]
        self._coreset_rows = load_table_state(state["coreset_rows"], "coresets")

    def finish(self) -> Record:
        """Close the open region and return the tables of the run."""
        if self._region is not None:
            self._close_region(self._region, self._region.start_step + self._region.steps)
        labels, excluded_at = self._context.train.labels, self._active.excluded_at
        regions = pl.DataFrame(self._region_rows, schema=dict(TABLES["regions"]))
        parts = ("select", "model", "check")
        return Record(
            coresets=pl.concat(self._coreset_rows),
            regions=regions,
            looks=self._looks.frame(labels, "selection", excluded_at),
            seconds={part: float(regions[f"seconds_{part}"].sum()) for part in parts},
        )

    def _open_region(self, step: int) -> Region:
        """Open region l at w_l: adapt T1 and P, select, model.

        If the run is to stop on the way, nothing has happened: a later run opens it all the same.
        """
        number = len(self._region_rows)
        interval, count = self._adapt(step)
        drawing = self._context.generator.get_state()
        try:
            with self._timed("select"):
                coresets, looks = self._select(number, count)
            with self._timed("model"):
                estimate = self._estimate(coresets)
        except Interrupted:
            self._context.generator.set_state(drawing)
            raise
        loss = self._observe(looks, step)
        if not math.isfinite(loss):
            raise diverged(loss, step, number)
        model = self._model(estimate, loss)
        self._coreset_rows.append(coreset_rows(coresets, self._context.train.labels))
        seconds, self._seconds = self._seconds, {}
        return Region(number, step, interval, coresets, model, len(self._active), seconds=seconds)

    def _adapt(self, step: int) -> tuple[int, int]:
        """T1 ← h‖H_0‖/‖H_l‖ and P ← b·T1; T1 = 1 for the first region."""
        parameters = self._parameters
        interval = 1
        if self._first_norm is not None:
            left = self._context.steps - step
            interval = check_interval(
                parameters.interval_factor, self._first_norm, self._norm, left
            )
        return interval, minibatch_count(parameters.minibatch_factor, interval)

    def _select(self, region: int, count: int) -> tuple[list[MiniBatchCoreset], list[Look]]:
        """Select P mini-batch coresets (Eq. 11), one from each V_p; also return what was seen."""
        context = self._context
        subsets = [self._active.draw(self._subset_size, context.generator) for _ in range(count)]
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
            context.precision,
            region,
            observe,
        )
        return coresets, looks

    def _estimate(self, coresets: list[MiniBatchCoreset]) -> Curvature:
        """Estimate g and h on the union of the coresets (Eq. 6, 7)."""
        context = self._context
        return estimate_curvature(
            context.model,
            context.train,
            coresets,
            context.precision,
            context.generator,
            self._parameters.hutchinson_draws,
            self._stop_if_asked,
        )

    def _observe(self, looks: list[Look], step: int) -> float:
        """Watch the losses of all V_p, and return their mean, L(w_l)."""
        total = 0.0
        for shown in looks:
            losses = shown.losses.cpu()
            total += float(losses.double().sum())
            self._learned.watch(shown.indices, losses)
            self._looks.record(shown.indices, shown.correct, losses, step)
        return total / sum(len(shown.indices) for shown in looks)

    def _model(self, estimate: Curvature, loss: float) -> QuadraticModel:
        """F_l from L(w_l) and the smoothed g and h (Eq. 6, 8, 9)."""
        self._smoothing = self._smoothing.include(estimate)
        curvature = self._smoothing.curvature
        self._norm = float(curvature.norm())
        if self._first_norm is None:
            self._first_norm = self._norm
        return QuadraticModel(self._weights(), loss, self._smoothing.gradient, curvature)

    def _stop_if_asked(self) -> None:
        if signal_number := self._context.stop():
            raise Interrupted(signal_number)

    def _is_check_due(self, region: Region) -> bool:
        """Whether T1 steps went by since the region opened or was last checked."""
        return region.steps >= (region.checks + 1) * region.interval

    def _check(self, region: Region) -> None:
        """Compare F_l(δ) with the loss on a fresh V_r (Eq. 10)."""
        context = self._context
        with self._timed("check"):
            subset = self._active.draw(self._subset_size, context.generator)
            shown = look(context.model, context.train, subset, context.precision)
            measured = float(shown.losses.double().mean())
            region.rho = relative_error(region.model(self._weights()), measured)
        region.checks += 1
        region.seconds["check"] = region.seconds.get("check", 0.0) + self._seconds.pop("check")

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
        model = region.model
        self._region_rows.append(
            {
                "region": region.number,
                "start_step": region.start_step,
                "end_step": step,
                "check_interval": region.interval,
                "minibatches": len(region.coresets),
                "checks": region.checks,
                "rho": region.rho,
                "loss_start": model.loss,
                "gradient_norm": float(model.gradient.norm()),
                "curvature_norm": float(model.curvature.norm()),
                "active": region.active,
                "excluded": len(self._context.train) - region.active,
                **{
                    f"seconds_{part}": region.seconds.get(part, 0.0)
                    for part in ("select", "model", "check", "train")
                },
            }
        )
        self._region = None

    def _weights(self) -> Tensor:
        return flatten(trained_parameters(self._context.model))

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] = self._seconds.get(part, 0.0) + time.perf_counter() - start


def _to(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)


def _region_state(region: Region) -> dict[str, Any]:
    """Return an open region as a tree for the saved state."""
    coresets = region.coresets
    return {
        **{name: getattr(region, name) for name in _PLAIN_FIELDS},
        "model": dict(vars(region.model)),
        "indices": torch.stack([coreset.indices for coreset in coresets]),
        "weights": torch.stack([coreset.weights for coreset in coresets]),
    }


def _load_region(state: dict[str, Any], device: torch.device) -> Region:
    """Return the region of a saved state; losses at selection are in the rows already."""
    rows = zip(state["indices"], state["weights"], strict=True)
    model: dict[str, Any] = {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in state["model"].items()
    }
    return Region(
        **{name: state[name] for name in _PLAIN_FIELDS},
        model=QuadraticModel(**model),
        coresets=[
            MiniBatchCoreset(indices, weights, None, state["number"], number)
            for number, (indices, weights) in enumerate(rows)
        ],
    )


# Fields of a region that are numbers, or a dictionary of them.
_PLAIN_FIELDS = ("number", "start_step", "interval", "active", "steps", "checks", "rho", "seconds")


def _randint(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (1,), generator=generator))
