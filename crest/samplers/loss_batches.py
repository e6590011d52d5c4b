"""A batch sampler that is given the losses of training: what is learned is drawn less often.

For any loop, loader and task: it knows neither model nor labels, only how large the last loss of
each example was.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from crest.data.given import integers, whole_number
from crest.devices.generators import generator_for
from crest.errors import OrderError, ParameterError, TrainingError
from crest.samplers.loss_exchange import Exchange
from crest.samplers.loss_rounds import LossRounds
from crest.samplers.loss_rules import RULES, build_rule

NAME = "LossBatchSampler"
REMEMBERED_EVERY = 32  # batches whose losses are remembered, and exchanged, together
FORGOTTEN = 2048  # batches drawn with no report at all, more than any loader holds ahead
LEAST_LAG, MOST_LAG = 16, 64
VERSION = 1


@dataclass(slots=True)
class _Batch:
    """A batch that was drawn: a stretch of ``order``, of which this process has a part.

    ``losses`` are those of the part that were ``reported``, NaN where they got lost.
    """

    number: int
    order: Tensor
    start: int
    size: int
    ends: tuple[int, int]  # of the part, within the batch
    losses: Tensor | None = None
    reported: int = 0

    @property
    def indices(self) -> Tensor:
        return self.order[self.start : self.start + self.size]

    @property
    def part(self) -> Tensor:
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


class LossBatchSampler(Sampler[list[int]]):
    """Batches of indices for the ``batch_sampler`` of a DataLoader, chosen by losses of training.

    >>> sampler = crest.LossBatchSampler(len(data), batch_size=128, steps=10_000)
    >>> for indices, inputs, targets in DataLoader(data, batch_sampler=sampler, num_workers=4):
    ...     losses = F.cross_entropy(model(inputs), targets, reduction="none")
    ...     ...
    ...     sampler.update(indices, losses)

    Examples come in rounds without replacement; of a round those take part that the rule draws by
    their last losses. A loader draws batches ahead of training, so batch k depends on the losses
    of batches up to k − ``lag`` only: the sequence is the same for any number of workers and any
    timing. :class:`crest.Indexed` adds its index to each example of a data set.

    One iteration yields all steps that are left, or those of one epoch (``epoch_steps``). One that
    was left in the middle is taken up by the next: batches that a loader had drawn and whose losses
    were not reported come again, in the same order.

    Parameters
    ----------
    count
        Examples of the data set, n.
    batch_size
        Examples of a batch, m; of all processes together.
    steps
        Batches in all.
    groups
        n integers, such as labels: any stretch of batches then has of every group its share. None
        for batches in random order.
    rule
        One of :data:`~crest.samplers.loss_rules.RULES`: ``focused`` (what is learned comes less
        often), ``random``, ``stratified``.
    seed
        Of all draws.
    lag
        Batches after which losses are taken into account at the latest, at least 1. It must cover
        what a loader draws ahead: ``num_workers · prefetch_factor + 1``. None: a quarter of a pass
        through the data, at least 16 and at most 64.
    epoch_steps
        Batches of one iteration; None for all.
    num_replicas, rank
        As of torch's DistributedSampler: how many processes train together, and which is this one;
        None to ask torch.distributed. Each is given its part of every batch, and reports its own
        losses; all processes must iterate.
    **options
        Of the rule, such as ``exponent``, ``floor``, ``ceiling`` and ``until`` of ``focused``.

    Raises
    ------
    ParameterError
        If an argument is none of those.

    Notes
    -----
    8 bytes an example; 16 at a round's start, more with groups.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        steps: int,
        groups: Any = None,
        rule: str = "focused",
        seed: int = 0,
        lag: int | None = None,
        epoch_steps: int | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        **options: Any,
    ) -> None:
        self._count = _at_least_1("count", count)
        self._size = _at_least_1("batch_size", batch_size)
        self._steps = _at_least_1("steps", steps)
        if self._count >= 2**31:
            raise ParameterError(f"{NAME}: count: {count} is more than 2,147,483,647 examples")
        if self._size > self._count:
            raise ParameterError(f"{NAME}: batch_size: {batch_size} is more than {count} examples")
        self._lag = _default_lag(count, batch_size) if lag is None else _at_least_1("lag", lag)
        self._epoch = _at_least_1("epoch_steps", steps if epoch_steps is None else epoch_steps)
        strata = _strata(rule, groups, self._count)
        self._rule = build_rule(rule, options)
        self._exchange = Exchange(num_replicas, rank, self._size)
        seed = whole_number(seed, "seed", 0)
        generator = generator_for(seed, "loss batches")
        self._settings = {
            "count": count, "batch_size": batch_size, "steps": steps, "rule": rule,
            "seed": seed, "lag": self._lag, "epoch_steps": self._epoch,
            "groups": _digest(strata), "options": dict(options),
        }  # fmt: skip
        self._rounds = LossRounds(self._count, self._rule, generator, strata)
        self._losses = torch.full((self._count,), torch.nan)
        self._ahead: deque[_Batch] = deque()  # drawn, and not taken into account yet
        self._drawn = 0
        self._iteration: _Iteration | None = None
        self._reports = 0
        self._lost_until = 0  # number of the first batch after those whose losses got lost
        self._loaded: Mapping[str, Any] | None = None  # since when no batch was drawn
        self._replaced: Mapping[str, Any] | None = None  # loaded before that, likewise

    def __len__(self) -> int:
        """Batches of one iteration that begins at a start: of an epoch, or of all steps."""
        return min(self._epoch, self._steps)

    @property
    def batch_size(self) -> int:
        """Examples of a batch, m; of all processes together."""
        return self._size

    @property
    def steps(self) -> int:
        """Batches in all."""
        return self._steps

    @property
    def position(self) -> int:
        """Number of the first batch whose losses are due; where they are optional, of the next."""
        return next((batch.number for batch in self._ahead if batch.due), self._drawn)

    def mean(self, losses: Tensor) -> Tensor:
        """Return what to call ``backward`` on, so that a step is that of the whole batch's mean.

        ``losses`` are those of this process's part. DDP averages gradients over processes, whose
        parts may differ by an example: the sum is divided by m over their number, m/P.
        """
        return losses.sum() * (self._exchange.replicas / self._size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's part of each batch that is left.

        Raises
        ------
        OrderError
            If all steps were taken, losses that a round needs were not reported, another iteration
            has begun meanwhile, or the processes were joined after the sampler was made.
        """
        self._exchange.require_all()
        if not self._rule.needs_losses and not self._reports:
            self._ahead.clear()
        unreported = [batch for batch in self._ahead if batch.due]
        at = unreported[0].number if unreported else self._drawn
        if at >= self._steps:
            raise OrderError(
                f"{NAME}: all {self._steps:,} steps were drawn; iterate once, or ask for more steps"
            )
        self._iteration = _Iteration(self, deque(unreported), self._epoch_end(at))
        return self._iteration

    def _epoch_end(self, number: int) -> int:
        """Return the number after the last batch of the epoch that a batch is in."""
        return min(self._steps, (number // self._epoch + 1) * self._epoch)

    def update(self, indices: Any, losses: Any) -> None:
        """Report the losses of the next batch, or of the next part of it; in the order of batches.

        Parameters
        ----------
        indices
            Those that the loop was given, k integers.
        losses
            Of each example, k numbers of 0 or more, as they were in training: before weights and
            before any mean. On a GPU they are fetched later, together.

        Raises
        ------
        OrderError
            If these indices are not those that are due: of no batch, of a batch that was reported
            already, or of a later one.
        ParameterError
            If losses are not one for each index, or the lag is smaller than what the loader draws
            ahead.
        TrainingError
            If a loss is not a finite number of 0 or more.
        """
        given, values = _as_indices(indices), _as_losses(losses)
        if len(given) != len(values):
            raise ParameterError(
                f"{NAME}.update: {len(values)} losses for {len(given)} indices; give one for each"
            )
        batch = self._due(given)
        self._require_lag(batch)
        due = batch.part[batch.reported : batch.reported + len(given)]
        if not torch.equal(given, due):
            values = self._in_order(batch, given, values)
        if values.device.type == "cpu":
            _require_losses(due, values)
        batch.losses = values if batch.losses is None else torch.cat([batch.losses, values])
        batch.reported += len(given)
        self._reports += 1

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs to go on exactly.

        Batches that were drawn and not reported come again there. Tensors, numbers and strings, for
        torch.save and torch.load with ``weights_only=True``. Of several processes all must call it.

        Raises
        ------
        OrderError
            If a batch was reported in part.
        """
        for batch in self._ahead:
            if batch.reported and batch.due:
                raise OrderError(
                    f"{NAME}.state_dict: batch {batch.number} was reported in part; report the "
                    "rest first"
                )
        done = [batch for batch in self._ahead if not batch.due]
        indices = [batch.indices for batch in self._ahead]
        empty = torch.empty(0, self._size)
        reported = self._exchange.gathered([batch.losses for batch in done]) if done else empty
        return {
            "version": VERSION,
            "settings": dict(self._settings),
            "drawn": self._drawn,
            "reports": self._reports,
            "lost_until": self._lost_until,
            "losses": self._losses.clone(),
            "rounds": self._rounds.state_dict(),
            "ahead": torch.stack(indices) if indices else empty.int(),
            "reported": reported,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state, also one of another number of processes or workers.

        Raises
        ------
        ParameterError
            If it is none, or of a sampler with other arguments; the message names them.
        """
        if not isinstance(state, Mapping) or state.get("version") != VERSION:
            raise ParameterError(f"{NAME}: state: not what state_dict() of this version returned")
        found = state["settings"]
        other = [name for name, value in self._settings.items() if found.get(name) != value]
        if other:
            raise ParameterError(
                f"{NAME}: state: of a sampler with other {', '.join(other)}; load it into one that "
                "is built alike"
            )
        self._loaded, self._replaced = state, self._loaded
        self._drawn, self._reports = int(state["drawn"]), int(state["reports"])
        self._lost_until = int(state["lost_until"])
        self._losses = state["losses"].clone()
        self._rounds.load_state_dict(state["rounds"])
        self._iteration = None
        first = self._drawn - len(state["ahead"])
        order, ends = state["ahead"].flatten(), self._exchange.ends
        self._ahead = deque(
            _Batch(first + place, order, place * self._size, self._size, ends)
            for place in range(len(state["ahead"]))
        )
        for batch, losses in zip(self._ahead, state["reported"], strict=False):
            batch.losses, batch.reported = losses[slice(*ends)].clone(), ends[1] - ends[0]

    def _resume_after(self, delivered: int) -> None:
        """Go on where a stateful loader was left that had given so many batches to the loop.

        The state that such a loader keeps is of the time when the last of them was drawn: the
        losses that were reported since are not in it. Those of a state that was loaded before it,
        and is of the time when the loader was left, are.
        """
        better = self._replaced
        if better is not None and _delivered(better) == delivered:
            self.load_state_dict(better)
        for batch in self._ahead:
            if batch.due and batch.number < delivered:
                batch.give_up()
                self._lost_until = delivered

    def _draw(self) -> list[int]:
        """Draw the next batch, and return this process's part; begin a round first if need be."""
        self._loaded = self._replaced = None
        number, exchange = self._drawn, self._exchange
        begins = not self._rounds.holds(self._size)
        if not self._rule.needs_losses:
            self._forget_until(number - self._lag)
        elif begins or number % REMEMBERED_EVERY == 0:
            self._remember_until(number - self._lag, required=begins or not exchange.alone)
        if begins:
            self._rounds.begin(self._losses, self._size, number / self._steps)
        indices, order, start = self._rounds.take(self._size)
        self._ahead.append(_Batch(number, order, start, self._size, exchange.ends))
        self._drawn = number + 1
        return indices if exchange.alone else indices[slice(*exchange.ends)]

    def _remember_until(self, last: int, required: bool) -> None:
        """Remember the losses of batches up to a number; where required, all must be there."""
        batches = [batch for batch in self._ahead if batch.number <= last]
        missing = next((batch.number for batch in batches if batch.due), None)
        if required and self._exchange.any(missing is not None):
            raise self._not_reported(self._drawn if missing is None else missing)
        if missing is not None:
            if last - missing > FORGOTTEN:
                raise self._not_reported(missing)
            batches = [batch for batch in batches if batch.number < missing]
        if not batches:
            return
        losses = self._exchange.gathered([batch.losses for batch in batches])
        indices = torch.stack([batch.indices for batch in batches])
        self._remember(indices.flatten(), losses.flatten())
        for _ in batches:
            self._ahead.popleft()

    def _remember(self, indices: Tensor, losses: Tensor) -> None:
        """Keep the last loss of each example; an example may come more than once."""
        if self._ahead[0].number < self._lost_until:
            known = ~losses.isnan()
            indices, losses = indices[known], losses[known]
        if not len(indices):
            return
        _require_losses(indices, losses)
        # NumPy's assignment keeps the last of an index that comes twice, torch's any of them.
        self._losses.numpy()[indices.numpy()] = losses.numpy()

    def _forget_until(self, last: int) -> None:
        """Forget batches up to a number, whose losses nobody needs."""
        while self._ahead and self._ahead[0].number <= last:
            self._ahead.popleft()

    def _due(self, given: Tensor) -> _Batch:
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

    def _not_due(self, given: Tensor, due: _Batch) -> OrderError:
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

    def _in_order(self, batch: _Batch, given: Tensor, values: Tensor) -> Tensor:
        """Return losses in the batch's order, for indices that came in another."""
        rest = batch.part[batch.reported :]
        if len(given) != len(rest):
            raise OrderError(
                f"{NAME}.update: a part of batch {batch.number} in another order; report parts in "
                "the batch's order, or the batch as a whole"
            )
        place = given.argsort()[rest.argsort().argsort()]
        return values[place.to(values.device)]

    def _require_lag(self, batch: _Batch) -> None:
        """Refuse a lag that the loader outruns: with other timing, batches would be others."""
        ahead = self._drawn - batch.number
        if self._rule.needs_losses and ahead > self._lag:
            raise ParameterError(
                f"{NAME}: lag: {self._lag} is too small: {ahead} batches were drawn before the "
                f"losses of batch {batch.number} were reported, as num_workers, prefetch_factor "
                f"or the trainer have it; use lag={ahead} or more"
            )

    def _not_reported(self, number: int) -> OrderError:
        return OrderError(
            f"{NAME}: batch {self._drawn} depends on the losses of batch {number}, which were not "
            "reported: call update(indices, losses) after each batch; and lag must cover what the "
            f"loader draws ahead, num_workers × prefetch_factor + 1: it is {self._lag}"
        )


class _Iteration(Iterator[list[int]]):
    """One iteration: batches that come again, then new ones up to ``end``.

    Its state is for loaders that keep it, such as torchdata's StatefulDataLoader.
    """

    def __init__(self, sampler: LossBatchSampler, again: deque[_Batch], end: int) -> None:
        self._sampler = sampler
        self._again = again
        self._end = end

    def __next__(self) -> list[int]:
        """Return this process's part of the next batch."""
        sampler = self._sampler
        if sampler._iteration is not self:
            raise OrderError(f"{NAME}: another iteration has begun; use one at a time")
        if self._again:
            indices: list[int] = self._again.popleft().part.tolist()
            return indices
        if sampler._drawn >= self._end:
            raise StopIteration
        return sampler._draw()

    def state_dict(self) -> dict[str, int]:
        """Return how many batches were drawn."""
        return {"drawn": self._sampler._drawn - len(self._again)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on after so many batches; those of them whose losses were not reported are let go."""
        sampler = self._sampler
        sampler._resume_after(state["drawn"])
        sampler._iteration = self
        self._again = deque(batch for batch in sampler._ahead if batch.due)
        self._end = sampler._epoch_end(state["drawn"])


def _delivered(state: Mapping[str, Any]) -> int:
    """Return how many batches were reported when a state was taken."""
    return int(state["drawn"]) - len(state["ahead"]) + len(state["reported"])


def _at_least_1(name: str, value: Any) -> int:
    return whole_number(value, f"{NAME}: {name}", 1)


def _default_lag(count: int, batch_size: int) -> int:
    return min(MOST_LAG, max(LEAST_LAG, count // batch_size // 4))


def _strata(rule: str, groups: Any, count: int) -> Tensor | None:
    if groups is None:
        if rule in RULES and RULES[rule].stratified:
            raise ParameterError(f"{NAME}: rule: '{rule}' needs groups, such as the labels")
        return None
    strata = integers(groups, "groups")
    if len(strata) != count:
        raise ParameterError(
            f"{NAME}: groups: {len(strata)} for {count} examples; give one for each"
        )
    return strata


def _digest(groups: Tensor | None) -> str:
    return "" if groups is None else hashlib.sha256(groups.numpy().tobytes()).hexdigest()


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
