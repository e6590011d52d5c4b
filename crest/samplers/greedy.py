"""Greedy: a fresh mini-batch coreset for every step, CREST without its regions."""

import time
from typing import Any

import polars as pl
import torch

from crest.artifacts import TABLES
from crest.inference.folding import find_folds, folded
from crest.inference.forward import Look, require_finite
from crest.parameters.sections import count_of, fitting
from crest.regions.active import ActiveSet, LearnedExamples
from crest.regions.region import region_row
from crest.samplers.base import Context, Record
from crest.samplers.example_tracker import ExampleTracker
from crest.samplers.limits import require_room_for_distances
from crest.selection.choices import find_choice, warn_of_choice
from crest.selection.choosing import select_minibatch_coresets
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.selection.gradients import find_proxy
from crest.selection.rows import CoresetRows
from crest.selection.totals import with_effective_sizes


class Greedy:
    """Yields a mini-batch coreset of a random subset drawn for the step alone (Eq. 11).

    Nothing is modelled and nothing checked; learned examples are excluded as in CREST. Each step
    is a region of its own in the tables.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data.
    """

    def __init__(self, context: Context) -> None:
        examples = len(context.train)
        parameters = context.parameters.greedy
        self._context = context
        self._window = parameters.learned_window
        self._size = fitting(
            "greedy.subset_size", parameters.subset_size, examples, context.batch_size
        )
        if parameters.choice != "balanced":
            device = context.precision.device
            require_room_for_distances("greedy.subset_size", self._size, device)
        self._floor = max(self._size, count_of(parameters.learned_floor, examples))
        self._proxy = find_proxy(parameters.proxy, "greedy.proxy")
        self._choice = find_choice(parameters.choice, "greedy.choice")
        if context.group.first:
            warn_of_choice(parameters.choice, "greedy.choice")
        self._folds = find_folds(
            context.model, context.train.inputs(torch.arange(min(2, examples)))
        )
        self._active = ActiveSet(examples)
        self._learned = LearnedExamples(parameters.learned_loss)
        self._looks = ExampleTracker(examples, errors=False)
        self._region_rows: list[dict[str, Any]] = []
        self._coreset_rows = CoresetRows(context.train.labels)

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Draw V_p and choose its mini-batch coreset."""
        context, started = self._context, time.perf_counter()
        if self._window and step and step % self._window == 0:
            self._active.exclude(self._learned.close_window(self._active, self._floor), step)
        losses: list[float] = []

        def observe(shown: Look) -> None:
            losses.append(self._observe(shown, step))

        with folded(context.model, self._folds):
            (coreset,) = select_minibatch_coresets(
                context.model,
                context.train,
                [self._active.draw(self._size, context.generator)],
                context.batch_size,
                self._proxy,
                self._choice,
                context.precision,
                context.generator,
                step,
                observe,
            )
        self._coreset_rows.add([coreset])
        seconds = {"select": time.perf_counter() - started}
        active = len(self._active), len(context.train)
        row = region_row(step, (step, step + 1), 1, 1, losses[0], active, seconds)
        self._region_rows.append(row)
        return coreset

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Note what the step took."""
        self._region_rows[-1]["seconds_train"] = seconds

    def state_dict(self) -> dict[str, Any]:
        """Return V, the watched losses, the rows so far and the generator."""
        return {
            "generator": self._context.generator.get_state(),
            "active": self._active.state_dict(),
            "learned": self._learned.state_dict(),
            "looks": self._looks.state_dict(),
            "region_rows": self._region_rows,
            "coreset_rows": self._coreset_rows.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the next step."""
        self._context.generator.set_state(state["generator"])
        self._active.load_state_dict(state["active"])
        self._learned.load_state_dict(state["learned"])
        self._looks.load_state_dict(state["looks"])
        self._region_rows = state["region_rows"]
        self._coreset_rows.load_state_dict(state["coreset_rows"])

    def record(self) -> Record:
        """Return the tables of the run."""
        coresets = self._coreset_rows.frame()
        regions = pl.DataFrame(self._region_rows, schema=dict(TABLES["regions"]))
        labels, excluded_at = self._context.train.labels, self._active.excluded_at
        return Record(
            coresets=coresets,
            regions=with_effective_sizes(regions, coresets),
            looks=self._looks.frame(labels, "selection", excluded_at),
            seconds={"select": float(regions["seconds_select"].sum())},
            counts={"examples_looked_at": len(regions) * self._size},
        )

    def _observe(self, shown: Look, step: int) -> float:
        """Watch the losses of V_p; returns their mean."""
        losses = shown.losses.cpu()
        loss = require_finite(shown, step, step)
        if self._window:
            self._learned.watch(shown.indices, losses)
        self._looks.record(shown.indices, shown.correct, losses, step)
        return loss
