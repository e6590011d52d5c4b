"""Training on a weighted coreset of the training set, chosen anew now and then.

What CRAIG, GradMatch and GLISTER have in common; they differ in the function that chooses.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import torch
from torch import Tensor

from crest.artifacts import TABLES
from crest.errors import Interrupted
from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import ForwardPass, require_finite
from crest.models.head import last_layer_if_any
from crest.regions.region import region_row
from crest.samplers.base import Context, Record
from crest.samplers.example_tracker import ExampleTracker
from crest.samplers.passes import Passes
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.selection.gradients import GradientProxy
from crest.selection.groups import groups
from crest.selection.rows import CoresetRows
from crest.selection.shares import proportional
from crest.selection.totals import with_effective_sizes

# Examples scored between two places at which a run that is to stop does.
SCORED_AT_ONCE = 2000

# Steps between two choices, which tables hold in 32 bits.
LONGEST = 2**31 - 1


@dataclass(frozen=True)
class Coreset:
    """Examples that stand for the training set: ``indices`` int64 k, ``weights`` float32 k."""

    indices: Tensor
    weights: Tensor


Observe = Callable[[Tensor], ForwardPass]
# Asked for a coreset of the model as it is; whatever it scores, it scores through Observe.
Choose = Callable[[Observe], Coreset]


@dataclass
class _Period:
    """What is trained on between two choices."""

    number: int
    start_step: int
    coreset: Coreset
    losses: Tensor
    mean_loss: float
    seconds: dict[str, float]
    drawn: int = field(default=0)


class Renewed:
    """Yields random mini-batches of a coreset that is chosen anew every so many passes through it.

    Mini-batches of m are drawn without replacement through each pass. Weights have mean 1 over the
    coreset, not over each mini-batch: a step is then an unbiased estimate of the step on all of
    the weighted coreset. Each choice is a region of the tables, with the mini-batches that were
    trained on.

    Parameters
    ----------
    choose
        Chooses the coreset.
    size
        Its examples, at least m.
    passes
        Passes through one coreset: it is renewed every round(``passes`` · ``size`` / m) steps.
    candidates
        How many examples it is chosen from.
    """

    def __init__(
        self, context: Context[Any], choose: Choose, size: int, passes: int, candidates: int
    ) -> None:
        examples = len(context.train)
        self._context = context
        self._choose = choose
        interval = max(1, round(passes * size / context.batch_size))
        self._interval = min(interval, LONGEST)
        self._candidates = candidates
        self._evaluator = FoldingEvaluator.of(context.evaluator)
        self._tracker = ExampleTracker(examples, errors=False)
        self._counts = {"examples_scored": 0}
        self._period: _Period | None = None
        self._passes = Passes(0, context.generator)
        self._region_rows: list[dict[str, Any]] = []
        self._coreset_rows = CoresetRows(context.train.labels)

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the next m examples of the coreset; choose another first when it is time."""
        period = self._period
        if period is None or step >= period.start_step + self._interval:
            period = self._renew(step)
        places = self._passes.take(self._context.batch_size)
        minibatch = MiniBatchCoreset(
            period.coreset.indices[places],
            period.coreset.weights[places],
            period.losses[places],
            period.number,
            period.drawn,
        )
        period.drawn += 1
        self._coreset_rows.add([minibatch])
        return minibatch

    def upcoming(self) -> Tensor | None:
        """Return the next m examples of the coreset; None where a pass or a choice begins."""
        period = self._period
        if period is None or period.drawn >= self._interval:
            return None
        places = self._passes.peek(self._context.batch_size)
        return None if places is None else period.coreset.indices[places]

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Note what the step took."""
        period = self._period
        assert period is not None, "update follows minibatch"
        if minibatch.region == period.number:
            period.seconds["train"] = period.seconds.get("train", 0.0) + seconds
        else:  # drawn ahead, and another was chosen since
            row = self._region_rows[minibatch.region]
            row["seconds_train"] += seconds

    def state_dict(self) -> dict[str, Any]:
        """Return the coreset, what is left of the pass through it, and the rows so far."""
        period = self._period
        return {
            "generator": self._context.generator.get_state(),
            "tracker": self._tracker.state_dict(),
            "counts": self._counts,
            "period": None if period is None else {**vars(period), "coreset": vars(period.coreset)},
            "passes": self._passes.state_dict(),
            "region_rows": self._region_rows,
            "coreset_rows": self._coreset_rows.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a pass."""
        self._context.generator.set_state(state["generator"])
        self._tracker.load_state_dict(state["tracker"])
        self._counts = state["counts"]
        period = state["period"]
        if period is not None:
            coreset = Coreset(**period["coreset"])
            self._period = _Period(**{**period, "coreset": coreset})
            self._passes = Passes(len(coreset.indices), self._context.generator)
        self._passes.load_state_dict(state["passes"])
        self._region_rows = state["region_rows"]
        self._coreset_rows.load_state_dict(state["coreset_rows"])

    def record(self) -> Record:
        """Return the tables of the run."""
        rows, period = self._region_rows, self._period
        if period is not None:
            rows = [*rows, self._row(period, period.start_step + period.drawn)]
        coresets = self._coreset_rows.frame()
        regions = pl.DataFrame(rows, schema=dict(TABLES["regions"]))
        return Record(
            coresets=coresets,
            regions=with_effective_sizes(regions, coresets),
            scored=self._tracker.frame(self._context.train.labels, "selection"),
            seconds={"select": float(regions["seconds_select"].sum())},
            counts=dict(self._counts),
        )

    def _renew(self, step: int) -> _Period:
        """Choose a coreset at w_l.

        If the run is to stop on the way, nothing has happened: a later run chooses all the same.
        """
        context, started = self._context, time.perf_counter()
        generator = context.generator.get_state()
        number = len(self._region_rows) + (self._period is not None)
        passes: list[ForwardPass] = []

        def observe(indices: Tensor) -> ForwardPass:
            scored = self._score(indices)
            require_finite(scored, step, number)
            passes.append(scored.without_features())
            return scored

        try:
            with self._evaluator.folded():
                coreset = self._choose(observe)
        except Interrupted:
            context.generator.set_state(generator)
            raise
        if self._period is not None:
            self._region_rows.append(self._row(self._period, step))
        losses = self._note(passes, step)
        mean = float(torch.cat([scored.losses for scored in passes]).double().mean())
        self._passes = Passes(len(coreset.indices), context.generator)
        seconds = {"select": time.perf_counter() - started}
        self._period = _Period(number, step, coreset, losses[coreset.indices], mean, seconds)
        return self._period

    def _score(self, indices: Tensor) -> ForwardPass:
        """Score examples, a few thousand at a time, unless the run is to stop."""
        parts = []
        for some in indices.split(SCORED_AT_ONCE):
            self._context.pause()
            parts.append(self._evaluator.score(some))
        columns = zip(*(part.state_dict().values() for part in parts), strict=True)
        return ForwardPass(*map(torch.cat, columns))

    def _note(self, passes: list[ForwardPass], step: int) -> Tensor:
        """Count what was seen; returns the losses, float32 n, NaN where nothing was."""
        losses = torch.full((len(self._context.train),), torch.nan)
        for scored in passes:
            seen = scored.losses.cpu()
            losses[scored.indices] = seen
            self._tracker.record(scored.indices, scored.correct, seen, step)
            self._counts["examples_scored"] += len(seen)
        return losses

    def _row(self, period: _Period, step: int) -> dict[str, object]:
        """Return the period as a row of the 'regions' table that ends before ``step``."""
        return region_row(
            period.number,
            (period.start_step, step),
            self._interval,
            period.drawn,
            period.mean_loss,
            (self._candidates, len(self._context.train)),
            period.seconds,
        )


# Called with gradients, r×d, and how many of them to pick; returns the picks and their weights.
Pick = Callable[[Tensor, int], tuple[Tensor, Tensor]]


def in_groups(
    context: Context[Any],
    pick: Pick,
    proxy: GradientProxy,
    size: int,
    per_class: bool,
    largest: int,
) -> Choose:
    """Return a function that chooses from one group after another, each its share of the coreset.

    Parameters
    ----------
    pick
        Chooses from the gradients of one group.
    proxy
        Gives them.
    size
        Examples of the coreset.
    per_class, largest
        As of :func:`crest.selection.groups.groups`.
    """

    def choose(observe: Observe) -> Coreset:
        parts = groups(context.train.labels, per_class, largest, context.generator)
        sizes = torch.tensor([len(part) for part in parts])
        shares = proportional(sizes, size, context.generator).tolist()
        indices, weights = [], []
        for part, share in zip(parts, shares, strict=True):
            if share == 0:
                continue
            gradients = proxy(observe(part), last_layer_if_any(context.model))
            picks, weight = pick(gradients, share)
            indices.append(part[picks.cpu()])
            weights.append(weight.cpu())
        together = torch.cat(weights)
        return Coreset(torch.cat(indices), together * (len(together) / together.sum()))

    return choose
