"""Losses of batches that were drawn: reported by a loop, and counted when their turn has come."""

from collections import deque
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crest.errors import OrderError, ParameterError, TrainingError
from crest.samplers.loss_exchange import Exchange
from crest.samplers.loss_history import LossHistory, keep_last
from crest.samplers.loss_records import NAME, UNKNOWN, LossRecords
from crest.samplers.loss_rounds import Order
from crest.samplers.rules.rule import Rule

FORGOTTEN = 2048  # batches drawn with no report at all, more than any loader holds ahead


@dataclass(slots=True)
class Batch:
    """A batch that was drawn: a stretch of ``order``, of which this process has a part.

    ``losses`` are those of the part that were ``reported``, NaN where they got lost; ``outcomes``
    what else was, where it is recorded.
    """

    number: int
    order: Order
    start: int
    size: int
    ends: tuple[int, int]  # of the part, within the batch
    losses: Tensor | None = None
    outcomes: Tensor | None = None
    reported: int = 0

    @property
    def indices(self) -> Tensor:
        """Its examples, int32."""
        return self.order.indices[slice(*self.ends_of_all)]

    @property
    def ends_of_all(self) -> tuple[int, int]:
        """Where it begins and ends in its order."""
        return self.start, self.start + self.size

    @property
    def part(self) -> Tensor:
        """Those of this process, int32."""
        return self.order.indices[slice(*self._places)]

    @property
    def listed(self) -> list[int]:
        """Those of this process, as a list."""
        return self.order.array[slice(*self._places)].tolist()

    @property
    def weights(self) -> Tensor:
        """Those of this process's examples, float32."""
        return self.order.weights_of(*self._places)

    @property
    def _places(self) -> tuple[int, int]:
        first, end = self.ends
        return self.start + first, self.start + end

    @property
    def due(self) -> int:
        """Examples whose losses were not reported."""
        return self.ends[1] - self.ends[0] - self.reported

    def give_up(self) -> None:
        """Take the losses for lost."""
        self.reported = self.ends[1] - self.ends[0]
        self.losses = torch.full((self.reported,), torch.nan)
        self.outcomes = torch.full((self.reported,), UNKNOWN, dtype=torch.int32)


class Reports:
    """The batches that were drawn and whose losses do not count yet, and all losses that do.

    Parameters
    ----------
    count, size
        Examples of the data set, n, and of a batch, m.
    lag
        Batches that may be drawn before the losses of the first of them are reported.
    rule
        Says whether losses are asked for, and what is remembered.
    records
        Of all that was reported, None for none; losses are then asked for whatever the rule.

    Attributes
    ----------
    history
        The losses that count.
    drawn
        Batches drawn so far.
    """

    def __init__(
        self,
        count: int,
        size: int,
        lag: int,
        rule: Rule,
        exchange: Exchange,
        records: LossRecords | None = None,
    ) -> None:
        self._count = count
        self._size = size
        self._lag = lag
        self._needed = rule.needs_losses or records is not None
        self._weighted = rule.weighted
        self._exchange = exchange
        self._records = records
        self.history = LossHistory(count if self._needed else 0, rule)
        self.drawn = 0
        self._ahead: deque[Batch] = deque()
        self._made = 0  # reports
        self._lost_until = 0  # number of the first batch after those whose losses got lost

    @property
    def due(self) -> list[Batch]:
        """Batches whose losses are due, in the order in which they were drawn."""
        return [batch for batch in self._ahead if batch.due]

    @property
    def position(self) -> int:
        """Number of the first batch whose losses are due; of the next where they are not used."""
        due = [] if self._unused else self.due
        return due[0].number if due else self.drawn

    @property
    def _unused(self) -> bool:
        """Whether no losses are needed, and none was ever reported."""
        return not self._needed and not self._made

    def expect(self, order: Order, start: int) -> Batch:
        """Take note of a batch that was drawn, and return it: a stretch of an order."""
        batch = Batch(self.drawn, order, start, self._size, self._exchange.ends)
        self._ahead.append(batch)
        self.drawn += 1
        return batch

    def weights(self, indices: Any) -> Tensor:
        """Return the weights of a batch or a part of it; see LossBatchSampler.weights."""
        given = _as_indices(indices, "weights")
        if not self._weighted:  # reports may be optional, and then no batch is due
            return torch.ones(len(given))
        reported = [batch for batch in self._ahead if not batch.due]
        for batch in (*self.due[:1], *reversed(reported)):
            order = batch.part.argsort()
            places = order[torch.searchsorted(batch.part[order], given).clamp(max=len(order) - 1)]
            if torch.equal(batch.part[places], given):
                return batch.weights[places]
        raise OrderError(
            f"{NAME}.weights: these are no indices of the batch whose losses are due; ask before "
            "the next batch is reported"
        )

    def include(
        self, indices: Any, losses: Any, correct: Any = None, predictions: Any = None
    ) -> None:
        """Take a report; see :meth:`crest.LossBatchSampler.update`."""
        given, values = _as_indices(indices, "update"), _as_losses(losses)
        if len(given) != len(values) or not len(given):
            raise ParameterError(
                f"{NAME}.update: {len(values)} losses for {len(given)} indices; give one for each"
            )
        if values.device.type == "cpu":
            _require_losses(given, values)
        batch = self._due(given)
        self._require_lag(batch)
        due = batch.part[batch.reported : batch.reported + len(given)]
        in_order = torch.equal(given, due)
        if not in_order:
            values = self._in_order(batch, given, values)
        if self._records is not None:
            outcomes = self._records.outcomes(len(given), correct, predictions)
            if not in_order:
                outcomes = self._in_order(batch, given, outcomes)
            batch.outcomes = _after(batch.outcomes, outcomes)
        batch.losses = _after(batch.losses, values)
        batch.reported += len(given)
        self._made += 1

    def count_until(self, last: int, required: bool) -> None:
        """Let the losses of batches up to a number count; where required, all must be there."""
        batches = [batch for batch in self._ahead if batch.number <= last]
        missing = next((batch.number for batch in batches if batch.due), None)
        if required and self._exchange.any(missing is not None):
            raise self._not_reported(self.drawn if missing is None else missing)
        if missing is not None:
            if last - missing > FORGOTTEN:
                raise self._not_reported(missing)
            batches = [batch for batch in batches if batch.number < missing]
        if not batches:
            return
        indices, losses = self._losses_of(batches)
        self.history.remember(indices, losses)
        if self._records is not None:
            self._record(batches, indices, losses, self._records)
        for _ in batches:
            self._ahead.popleft()

    def _losses_of(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """Return indices and losses of whole batches, k×m; NaN where a loss got lost.

        Losses that are none are refused; those of a GPU are known now.
        """
        losses = self._exchange.gathered([batch.losses for batch in batches])
        indices = torch.stack([batch.indices for batch in batches])
        known = ~losses.isnan() if batches[0].number < self._lost_until else None
        some = (indices, losses) if known is None else (indices[known], losses[known])
        if some[0].numel():
            _require_losses(some[0].flatten(), some[1].flatten())
        return indices, losses

    def _record(
        self, batches: Sequence[Batch], indices: Tensor, losses: Tensor, records: LossRecords
    ) -> None:
        """Count what was reported of batches, the lost left out."""
        outcomes = self._exchange.gathered([batch.outcomes for batch in batches])
        numbers = torch.tensor([batch.number for batch in batches], dtype=torch.int32)
        known = ~losses.isnan()
        if bool(known.any()):
            numbers = numbers[:, None].expand_as(indices)
            records.count(indices[known], losses[known], outcomes[known], numbers[known])

    def recorded(self) -> tuple[LossRecords, Tensor]:
        """Return records and last losses of all that was reported; all processes call it.

        Raises
        ------
        OrderError
            If nothing is recorded, or a batch was reported in part.
        """
        if self._records is None:
            raise OrderError(f"{NAME}: nothing was recorded; make it with record=True")
        self._require_whole("examples")
        records, last = deepcopy(self._records), self.history.losses.clone()
        if done := [batch for batch in self._ahead if not batch.due]:
            indices, losses = self._losses_of(done)
            keep_last(last, indices, losses)
            self._record(done, indices, losses, records)
        return records, last

    def forget_until(self, last: int) -> None:
        """Forget batches up to a number, whose losses nobody needs."""
        while self._ahead and self._ahead[0].number <= last:
            self._ahead.popleft()

    def forget_unreported(self) -> None:
        """Forget all batches, where no losses are needed and none was ever reported."""
        if self._unused:
            self._ahead.clear()

    def give_up(self, number: int) -> None:
        """Take the losses of batches below a number that are due for lost."""
        for batch in self.due:
            if batch.number < number:
                batch.give_up()
                self._lost_until = number

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs; all processes call it.

        Raises
        ------
        OrderError
            If a batch was reported in part.
        """
        self._require_whole("state_dict")
        done = [batch for batch in self._ahead if not batch.due]
        indices = [batch.indices for batch in self._ahead]
        empty = torch.empty(0, self._size)
        state = {
            "drawn": self.drawn,
            "reports": self._made,
            "lost_until": self._lost_until,
            "history": self.history.state_dict(),
            "ahead": torch.stack(indices) if indices else empty.int(),
            "reported": self._exchange.gathered([one.losses for one in done]) if done else empty,
        }
        if self._records is not None:
            outcomes = [batch.outcomes for batch in done]
            state["records"] = self._records.state_dict()
            state["outcomes"] = self._exchange.gathered(outcomes) if done else empty.int()
        if self._weighted:
            weights = [batch.order.weights_of(*batch.ends_of_all) for batch in self._ahead]
            state["weights"] = torch.stack(weights) if weights else empty
        return state

    def _require_whole(self, name: str) -> None:
        """Refuse a batch that was reported in part."""
        for batch in self.due:
            if batch.reported:
                raise OrderError(
                    f"{NAME}.{name}: batch {batch.number} was reported in part; report the rest "
                    "first"
                )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state, also one of another number of processes."""
        self.drawn, self._made = int(state["drawn"]), int(state["reports"])
        self._lost_until = int(state["lost_until"])
        self.history.load_state_dict(state["history"])
        first = self.drawn - len(state["ahead"])
        weights = state["weights"].flatten() if self._weighted else None
        order, ends = Order.of(state["ahead"].flatten(), weights), self._exchange.ends
        self._ahead = deque(
            Batch(first + place, order, place * self._size, self._size, ends)
            for place in range(len(state["ahead"]))
        )
        for batch, losses in zip(self._ahead, state["reported"], strict=False):
            batch.losses, batch.reported = losses[slice(*ends)].clone(), ends[1] - ends[0]
        if self._records is not None:
            self._records.load_state_dict(state["records"])
            for batch, outcomes in zip(self._ahead, state["outcomes"], strict=False):
                batch.outcomes = outcomes[slice(*ends)].clone()

    def _due(self, given: Tensor) -> Batch:
        """Return the batch whose losses are due, if the indices can be its."""
        for batch in self._ahead:
            if not batch.due:
                continue
            rest = batch.part[batch.reported :]
            if len(given) <= len(rest) and _is_within(given, rest):
                return batch
            raise self._not_due(given, batch)
        raise OrderError(
            f"{NAME}.update: no batch is due; report each batch once, after it was drawn"
        )

    def _not_due(self, given: Tensor, due: Batch) -> OrderError:
        """Say which batch the indices are of, and which was due."""
        for batch in self._ahead:
            if len(given) <= len(batch.part) and _is_within(given, batch.part):
                return self._other_batch(batch, due)
        if bool(torch.isin(given, due.part[due.reported :]).all()):
            return OrderError(_other_order(due.number))
        outside = given[(given < 0) | (given >= self._count)]
        if len(outside):
            return OrderError(
                f"{NAME}.update: index {int(outside[0])} is outside the {self._count:,} examples"
            )
        return OrderError(
            f"{NAME}.update: index {int(given[~torch.isin(given, due.part)][:1].sum())} is not of "
            f"batch {due.number}, whose losses are due; report the indices that the loop was given"
        )

    def _other_batch(self, batch: Batch, due: Batch) -> OrderError:
        """Say why indices of a batch, or of its first part, cannot be reported now."""
        which = f"{NAME}.update: these are indices of batch {batch.number}"
        if due.reported and batch.due:
            lacks = f"batch {due.number} still lacks {due.due} of its {len(due.part)} examples"
            return OrderError(
                f"{which}, and {lacks}; report each example once, all of a batch before the next"
            )
        when = "reported already" if not batch.due else f"due after batch {due.number}"
        return OrderError(
            f"{which}, which is {when}; report each batch once, in the order in which they were "
            "drawn"
        )

    def _in_order(self, batch: Batch, given: Tensor, values: Tensor) -> Tensor:
        """Return values in the batch's order, for indices that came in another."""
        rest = batch.part[batch.reported :]
        if len(given) != len(rest):
            raise OrderError(_other_order(batch.number))
        place = given.argsort()[rest.argsort().argsort()]
        return values[place.to(values.device)]

    def _require_lag(self, batch: Batch) -> None:
        """Refuse a lag that the loader outruns: with other timing, batches would be others."""
        ahead = self.drawn - batch.number
        if self._needed and ahead > self._lag:
            raise ParameterError(
                f"{NAME}: lag: {self._lag} is too small: {ahead} batches were drawn before the "
                f"losses of batch {batch.number} were reported, as num_workers, prefetch_factor "
                f"or the trainer have it; use lag={ahead} or more"
            )

    def _not_reported(self, number: int) -> OrderError:
        return OrderError(
            f"{NAME}: batch {self.drawn} depends on the losses of batch {number}, which were not "
            "reported: call update(indices, losses) after each batch; and lag must cover what the "
            f"loader draws ahead, num_workers × prefetch_factor + 1: it is {self._lag}"
        )


def reported_batches(state: Mapping[str, Any]) -> int:
    """Return how many batches were reported when the state of reports was taken."""
    return int(state["drawn"]) - len(state["ahead"]) + len(state["reported"])


def _as_indices(indices: Any, called: str) -> Tensor:
    """Return indices as int32 on the CPU."""
    given = indices if isinstance(indices, Tensor) else torch.as_tensor(np.asarray(indices))
    if given.is_floating_point() or given.dtype == torch.bool or given.dim() != 1:
        raise ParameterError(f"{NAME}.{called}: indices must be whole numbers in a row")
    return given.to("cpu", torch.int32)


def _as_losses(losses: Any) -> Tensor:
    """Return losses as float32 where they are, without their graph."""
    if isinstance(losses, Tensor):
        values = losses.detach()
    elif isinstance(losses, Sequence | np.ndarray):
        values = torch.as_tensor(np.asarray(losses, dtype=np.float32))
    else:
        raise ParameterError(f"{NAME}.update: losses: a {type(losses).__name__}; give a tensor")
    require_row(values, "update")
    return values.float()


def require_row(losses: Tensor, called: str) -> None:
    """Refuse losses that are not one for each example."""
    if losses.dim() != 1:
        shape = "×".join(map(str, losses.shape)) or "a single number"
        raise ParameterError(
            f"{NAME}.{called}: losses: {shape}; give one for each example: reduction='none', and "
            "the mean over what an example has, such as its tokens or pixels"
        )


def _other_order(number: int) -> str:
    return (
        f"{NAME}.update: a part of batch {number} in another order, or not from its start; report "
        "parts in the batch's order and without gaps, or the batch as a whole"
    )


def _after(before: Tensor | None, values: Tensor) -> Tensor:
    """Return a batch's values, after those of its part that was reported before."""
    return values if before is None else torch.cat([before, values])


def _is_within(given: Tensor, part: Tensor) -> bool:
    """Whether indices are some of a part, each as often."""
    if torch.equal(given, part[: len(given)]):
        return True
    return len(given) == len(part) and torch.equal(given.sort().values, part.sort().values)


def _require_losses(indices: Tensor, losses: Tensor) -> None:
    """Refuse losses that are no finite numbers of 0 or more."""
    lowest, total = float(losses.min()), float(losses.sum(dtype=torch.float64))
    if lowest >= 0.0 and total < float("inf"):
        return
    row = int((~((losses >= 0) & losses.isfinite())).int().argmax())
    raise TrainingError(
        f"{NAME}: the loss of example {int(indices[row])} is {float(losses[row])}; losses must be "
        "finite numbers of 0 or more: lower the learning rate where they are not finite, and "
        "report a loss without what makes it negative"
    )
