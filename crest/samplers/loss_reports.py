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
from crest.samplers.loss_records import NAME, UNKNOWN, LossRecords

FORGOTTEN = 2048  # batches drawn with no report at all, more than any loader holds ahead


@dataclass(slots=True)
class Batch:
    """A batch that was drawn: a stretch of ``order``, of which this process has a part.

    ``losses`` are those of the part that were ``reported``, NaN where they got lost; ``outcomes``
    what else was, where it is recorded.
    """

    number: int
    order: Tensor
    start: int
    size: int
    ends: tuple[int, int]  # of the part, within the batch
    losses: Tensor | None = None
    outcomes: Tensor | None = None
    reported: int = 0

    @property
    def indices(self) -> Tensor:
        """Its examples, int32."""
        return self.order[self.start : self.start + self.size]

    @property
    def part(self) -> Tensor:
        """Those of this process, int32."""
        first, end = self.ends
        return self.order[self.start + first : self.start + end]

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
    needed
        Whether losses are asked for; without, reporting them is optional.
    records
        Of all that was reported, None for none.

    Attributes
    ----------
    losses
        float32, n: the last loss that counts of each example, NaN where there is none.
    drawn
        Batches drawn so far.
    """

    def __init__(
        self,
        count: int,
        size: int,
        lag: int,
        needed: bool,
        exchange: Exchange,
        records: LossRecords | None = None,
    ) -> None:
        self._count = count
        self._size = size
        self._lag = lag
        self._needed = needed
        self._exchange = exchange
        self._records = records
        self.losses = torch.full((count,), torch.nan)
        self.drawn = 0
        self._ahead: deque[Batch] = deque()
        self._made = 0  # reports
        self._lost_until = 0  # number of the first batch after those whose losses got lost

    @property
    def due(self) -> list[Batch]:
        """Batches whose losses are due, in the order in which they were drawn."""
        return [batch for batch in self._ahead if batch.due]

    def expect(self, order: Tensor, start: int) -> None:
        """Take note of a batch that was drawn: a stretch of an order that is written to no more."""
        self._ahead.append(Batch(self.drawn, order, start, self._size, self._exchange.ends))
        self.drawn += 1

    def include(
        self, indices: Any, losses: Any, correct: Any = None, predictions: Any = None
    ) -> None:
        """Take a report; see :meth:`crest.LossBatchSampler.update`."""
        given, values = _as_indices(indices), _as_losses(losses)
        if len(given) != len(values) or not len(given):
            raise ParameterError(
                f"{NAME}.update: {len(values)} losses for {len(given)} indices; give one for each"
            )
        batch = self._due(given)
        self._require_lag(batch)
        due = batch.part[batch.reported : batch.reported + len(given)]
        in_order = torch.equal(given, due)
        if not in_order:
            values = self._in_order(batch, given, values)
        if values.device.type == "cpu":
            _require_losses(due, values)
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
        self._remember(batches, self.losses, self._records)
        for _ in batches:
            self._ahead.popleft()

    def _remember(
        self, batches: Sequence[Batch], last: Tensor, records: LossRecords | None
    ) -> None:
        """Keep the last loss of each example, which may come more than once; record them all."""
        losses = self._exchange.gathered([batch.losses for batch in batches]).flatten()
        indices = torch.stack([batch.indices for batch in batches]).flatten()
        known: Tensor | slice = slice(None)
        if batches[0].number < self._lost_until:
            known = ~losses.isnan()
            indices, losses = indices[known], losses[known]
        if len(indices):
            _require_losses(indices, losses)
            # NumPy's assignment keeps the last of an index that comes twice, torch's any of them.
            last.numpy()[indices.numpy()] = losses.numpy()
        if records is None:
            return
        outcomes = self._exchange.gathered([batch.outcomes for batch in batches]).flatten()
        if len(indices):
            numbers = torch.tensor([batch.number for batch in batches], dtype=torch.int32)
            numbers = numbers.repeat_interleave(self._size)
            records.count(indices, losses, outcomes[known], numbers[known])

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
        records, last = deepcopy(self._records), self.losses.clone()
        if done := [batch for batch in self._ahead if not batch.due]:
            self._remember(done, last, records)
        return records, last

    def forget_until(self, last: int) -> None:
        """Forget batches up to a number, whose losses nobody needs."""
        while self._ahead and self._ahead[0].number <= last:
            self._ahead.popleft()

    def forget_unreported(self) -> None:
        """Forget all batches, where no losses are needed and none was ever reported."""
        if not self._needed and not self._made:
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
            "losses": self.losses.clone(),
            "ahead": torch.stack(indices) if indices else empty.int(),
            "reported": self._exchange.gathered([one.losses for one in done]) if done else empty,
        }
        if self._records is not None:
            outcomes = [batch.outcomes for batch in done]
            state["records"] = self._records.state_dict()
            state["outcomes"] = self._exchange.gathered(outcomes) if done else empty.int()
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
        self.losses = state["losses"].clone()
        first = self.drawn - len(state["ahead"])
        order, ends = state["ahead"].flatten(), self._exchange.ends
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
                when = "reported already" if not batch.due else f"due after batch {due.number}"
                return OrderError(
                    f"{NAME}.update: these are indices of batch {batch.number}, which is {when}; "
                    "report each batch once, in the order in which they were drawn"
                )
        outside = given[(given < 0) | (given >= self._count)]
        if len(outside):
            return OrderError(
                f"{NAME}.update: index {int(outside[0])} is outside the {self._count:,} examples"
            )
        return OrderError(
            f"{NAME}.update: index {int(given[~torch.isin(given, due.part)][:1].sum())} is not of "
            f"batch {due.number}, whose losses are due; report the indices that the loop was given"
        )

    def _in_order(self, batch: Batch, given: Tensor, values: Tensor) -> Tensor:
        """Return values in the batch's order, for indices that came in another."""
        rest = batch.part[batch.reported :]
        if len(given) != len(rest):
            raise OrderError(
                f"{NAME}.update: a part of batch {batch.number} in another order; report parts in "
                "the batch's order, or the batch as a whole"
            )
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


def delivered(state: Mapping[str, Any]) -> int:
    """Return how many batches were reported when the state of reports was taken."""
    return int(state["drawn"]) - len(state["ahead"]) + len(state["reported"])


def _as_indices(indices: Any) -> Tensor:
    """Return indices as int32 on the CPU."""
    given = indices if isinstance(indices, Tensor) else torch.as_tensor(np.asarray(indices))
    if given.is_floating_point() or given.dtype == torch.bool or given.dim() != 1:
        raise ParameterError(f"{NAME}.update: indices must be whole numbers in a row")
    return given.to("cpu", torch.int32)


def _as_losses(losses: Any) -> Tensor:
    """Return losses as float32 where they are, without their graph."""
    if isinstance(losses, Tensor):
        values = losses.detach()
    elif isinstance(losses, Sequence | np.ndarray):
        values = torch.as_tensor(np.asarray(losses, dtype=np.float32))
    else:
        raise ParameterError(f"{NAME}.update: losses: a {type(losses).__name__}; give a tensor")
    if values.dim() != 1:
        shape = "×".join(map(str, values.shape)) or "a single number"
        raise ParameterError(
            f"{NAME}.update: losses: {shape}; give one for each example: reduction='none', and the "
            "mean over what an example has, such as its tokens or pixels"
        )
    return values.float()


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
