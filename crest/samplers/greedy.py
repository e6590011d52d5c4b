"""Greedy: a fresh mini-batch coreset for every step, CREST without its regions."""

import time
from typing import TYPE_CHECKING, Any

import polars as pl

from crest.artifacts import TABLES
from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import ForwardPass, require_finite
from crest.regions.region import region_row
from crest.samplers.base import Context, Record
from crest.samplers.pool import Pool
from crest.samplers.selector import selector_of
from crest.samplers.sizes import count_of, fitting
from crest.selection.choices import warn_of_choice
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.selection.rows import CoresetRows
from crest.selection.totals import with_effective_sizes

if TYPE_CHECKING:
    from crest.methods.greedy import GreedyParameters


class Greedy:
    """Yields a mini-batch coreset of a random subset drawn for the step alone (Eq. 11).

    Nothing is modelled and nothing checked; learned examples are excluded as in CREST. Each step
    is a region of its own in the tables.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data.
    """

    def __init__(self, context: "Context[GreedyParameters]") -> None:
        parameters, labels = context.parameters, context.train.labels
        size = fitting(
            "greedy.subset_size", parameters.subset_size, len(labels), context.batch_size
        )
        self._context = context
        self._size = size
        self._selector = selector_of(
            "greedy",
            parameters.proxy,
            parameters.choice,
            # One subset a step: nothing to share.
            FoldingEvaluator.of(context.evaluator.alone),
            (context.batch_size, size),
            context.generator,
        )
        if context.group.first:
            warn_of_choice(parameters.choice, "greedy.choice")
        self._pool = Pool(
            labels,
            parameters.learned.loss,
            parameters.learned.window,
            max(size, count_of(parameters.learned.floor, len(labels))),
        )
        self._region_rows: list[dict[str, Any]] = []
        self._coreset_rows = CoresetRows(labels)

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Draw V_p and choose its mini-batch coreset."""
        context, active, started = self._context, self._pool.active, time.perf_counter()
        if self._pool.is_window_over(step):
            self._pool.exclude_learned(step)
        loss = 0.0

        def observe(scored: ForwardPass) -> None:
            nonlocal loss
            loss = require_finite(scored, step, step)
            self._pool.observe(scored, scored.losses.cpu(), step)

        subset = active.draw(self._size, context.generator)
        (coreset,) = self._selector.select([subset], step, observe)
        self._coreset_rows.add([coreset])
        seconds = {"select": time.perf_counter() - started}
        counts = len(active), len(context.train)
        row = region_row(step, (step, step + 1), 1, 1, loss, counts, seconds)
        self._region_rows.append(row)
        return coreset

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Note what the step took."""
        self._region_rows[minibatch.region]["seconds_train"] = seconds

    def state_dict(self) -> dict[str, Any]:
        """Return V, the recorded losses, the rows so far and the generator."""
        return {
            "generator": self._context.generator.get_state(),
            "pool": self._pool.state_dict(),
            "region_rows": self._region_rows,
            "coreset_rows": self._coreset_rows.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the next step."""
        self._context.generator.set_state(state["generator"])
        self._pool.load_state_dict(state["pool"])
        self._region_rows = state["region_rows"]
        self._coreset_rows.load_state_dict(state["coreset_rows"])

    def record(self) -> Record:
        """Return the tables of the run."""
        coresets = self._coreset_rows.frame()
        regions = pl.DataFrame(self._region_rows, schema=dict(TABLES["regions"]))
        return Record(
            coresets=coresets,
            regions=with_effective_sizes(regions, coresets),
            scored=self._pool.frame(),
            seconds={"select": float(regions["seconds_select"].sum())},
            counts={"examples_scored": len(regions) * self._size},
        )
