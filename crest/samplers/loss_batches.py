"""A batch sampler that is given the losses of training, by which a rule says who takes part.

For any loop, loader and task: it knows neither model nor labels, only how large the last loss of
each example was.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from crest.artifacts import EXAMPLES, write_table
from crest.data.given import integers, whole_number
from crest.devices.generators import generator_for
from crest.errors import OrderError, ParameterError
from crest.samplers.loss_exchange import Exchange
from crest.samplers.loss_records import LAST_LOSS, NAME, LossRecords
from crest.samplers.loss_reports import Batch, Reports, reported_batches, require_row
from crest.samplers.loss_rounds import LossRounds
from crest.samplers.rules import RULES, build_rule

if TYPE_CHECKING:
    import polars as pl

COUNTED_EVERY = 32  # batches whose losses are taken into account, and exchanged, together
LEAST_LAG, MOST_LAG = 16, 64
VERSION = 2


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
        n integers, such as labels: any stretch of batches then has of every group the share that
        takes part. None for batches in random order.
    rule
        One of :data:`~crest.samplers.rules.RULES`: ``focused`` (what is learned comes less
        often), ``random``, ``stratified``, or a paper's, such as ``infobatch``.
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
    record
        Whether what is reported of each example is counted, for :meth:`examples`; losses are then
        asked for whatever the rule.
    label_quality
        n numbers from 0 to 1: how likely each label is right, such as the ``quality`` of
        :func:`crest.estimate_label_noise`. Of those that the rule takes into a round, each takes
        part with that chance. None: all labels are believed.
    **options
        Of the rule, such as ``exponent``, ``floor``, ``ceiling``, ``until`` and ``onset`` of
        ``focused``.

    Raises
    ------
    ParameterError
        If an argument is none of those.

    Notes
    -----
    Bytes an example, and at their peak at a round's start, as benchmarks/speed/loss_batches.py
    measures at ten million: 4 and 18 with ``random``, 12 and 26 with ``focused``. More with groups;
    25 more where they are recorded, 33 with predictions, and 4 with ``label_quality``.
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
        record: bool = False,
        label_quality: Any = None,
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
        self._rule = build_rule(rule, options, [*signature(LossBatchSampler).parameters][:-1])
        self._strata = strata = _strata(rule, groups, self._count)
        self._exchange = Exchange(num_replicas, rank, self._size)
        seed = whole_number(seed, "seed", 0)
        generator = generator_for(seed, "loss batches")
        self._settings = {
            "count": count, "batch_size": batch_size, "steps": steps, "rule": rule,
            "seed": seed, "lag": self._lag, "epoch_steps": self._epoch,
            "groups": _digest(strata), "options": dict(options),
        }  # fmt: skip
        if record:
            self._settings["record"] = True
        self._quality = _quality(label_quality, self._count)
        if self._quality is not None:
            self._settings["label_quality"] = _digest(self._quality)
        self._asks = self._rule.needs_losses or record
        self._rounds = LossRounds(self._count, self._rule, generator, strata)
        self._reports = Reports(
            self._count, self._size, self._lag, self._rule, self._exchange,
            LossRecords(self._count) if record else None,
        )  # fmt: skip
        self._iteration: _Iteration | None = None
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
        """Number of the first batch whose losses are due; of the next where none are reported."""
        return self._reports.position

    @property
    def records(self) -> bool:
        """Whether what is reported of each example is counted."""
        return "record" in self._settings

    @property
    def weighted(self) -> bool:
        """Whether the rule weighs losses, as ``infobatch`` does."""
        return self._rule.weighted

    def mean(self, losses: Tensor, indices: Any = None) -> Tensor:
        """Return what to call ``backward`` on, so that a step is that of the whole batch's mean.

        DDP averages gradients over processes, whose parts may differ by an example: the sum is
        divided by m over their number, m/P.

        Parameters
        ----------
        losses
            Those of this process's part, k: one for each example, before any mean.
        indices
            Of the losses, where the rule weighs them; they are multiplied by their weights.

        Raises
        ------
        ParameterError
            If losses are not one for each example, or more than the part has; or the rule weighs
            losses and their indices are not given, or are not one for each.
        OrderError
            As of :meth:`weights`.
        """
        first, end = self._exchange.ends
        require_row(losses, "mean")
        if len(losses) > end - first:
            raise ParameterError(
                f"{NAME}.mean: {len(losses)} losses, and a batch has {end - first} examples; give "
                "one for each example"
            )
        if self.weighted:
            if indices is None:
                raise ParameterError(
                    f"{NAME}.mean: indices: the rule '{self._settings['rule']}' weighs losses; "
                    "call mean(losses, indices)"
                )
            weights = self.weights(indices).to(losses.device)
            if weights.shape != losses.shape:
                raise ParameterError(
                    f"{NAME}.mean: losses of shape {tuple(losses.shape)} for {len(weights)} "
                    "indices; give one for each"
                )
            losses = losses * weights
        return losses.sum() * (self._exchange.replicas / self._size)

    def weights(self, indices: Any) -> Tensor:
        """Return by which to multiply the losses of a batch before their mean is taken.

        1 each unless the rule weighs, as ``infobatch`` does.

        Parameters
        ----------
        indices
            Those that the loop was given, k integers.

        Returns
        -------
        Tensor
            float32, k, on the CPU.

        Raises
        ------
        OrderError
            If the rule weighs, and they are not of the batch whose losses are due, or of the last
            that was reported.
        """
        return self._reports.weights(indices)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's part of each batch that is left.

        Raises
        ------
        OrderError
            If all steps were taken, losses that a round needs were not reported, another iteration
            has begun meanwhile, or the processes were joined after the sampler was made.
        """
        self._exchange.require_all()
        self._reports.forget_unreported()
        again, at = deque(self._reports.due), self.position
        if at >= self._steps:
            raise OrderError(
                f"{NAME}: all {self._steps:,} steps were drawn; iterate once, or ask for more steps"
            )
        self._iteration = _Iteration(self, again, self._epoch_end(at))
        return self._iteration

    def _epoch_end(self, number: int) -> int:
        """Return the number after the last batch of the epoch that a batch is in."""
        return min(self._steps, (number // self._epoch + 1) * self._epoch)

    def update(
        self, indices: Any, losses: Any, correct: Any = None, predictions: Any = None
    ) -> None:
        """Report the losses of the next batch, or of the next part of it; in the order of batches.

        Parameters
        ----------
        indices
            Those that the loop was given, k integers.
        losses
            Of each example, k numbers of 0 or more, as they were in training: before weights and
            before any mean. On a GPU they are fetched later, together.
        correct
            Where it is recorded: whether each was classified rightly, k truth values. None where
            there is no right and wrong; every report has it, or none.
        predictions
            Beside correct: the classes that the outputs name, k integers, for ``taken_for``.

        Raises
        ------
        OrderError
            If these indices are not those that are due: of no batch, of a batch that was reported
            already, or of a later one.
        ParameterError
            If losses are not one for each index, the lag is smaller than what the loader draws
            ahead, or correct and predictions are not as in the reports before.
        TrainingError
            If a loss is not a finite number of 0 or more.
        """
        self._reports.include(indices, losses, correct, predictions)

    def examples(self, labels: Any = None) -> "pl.DataFrame":
        """Return what was reported of each example so far: rows of the 'examples' table.

        As training saw it: ``first_learned`` is the number of a batch. ``correct``, ``forgotten``
        and ``first_learned`` are null where correct was not reported, ``taken_for`` where
        predictions were not, ``el2n`` always. A last column, ``last_loss``, is beside the table's.
        Of several processes all must call it, and all are given the whole.

        Parameters
        ----------
        labels
            n integers; None for null.

        Raises
        ------
        OrderError
            If the sampler was made without ``record=True``, or a batch was reported in part.
        ParameterError
            If labels are not one for each example.
        """
        records, last = self._reports.recorded()
        return records.frame(labels, last)

    def save(self, folder: str | Path, labels: Any = None) -> None:
        """Write :meth:`examples` into a folder, as ``examples.parquet``.

        ``cli.py difficulty`` reads it. Of several processes all must call it; the first
        writes.

        Raises
        ------
        ArtifactError
            If it cannot be written.
        OrderError, ParameterError
            As :meth:`examples`.
        """
        table = self.examples(labels)
        if self._exchange.first:
            write_table(Path(folder) / EXAMPLES, table, more=LAST_LOSS)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs to go on exactly.

        Batches that were drawn and not reported come again there. Tensors, numbers and strings, for
        torch.save and torch.load with ``weights_only=True``. Of several processes all must call it.

        Raises
        ------
        OrderError
            If a batch was reported in part.
        """
        return {
            "version": VERSION,
            "settings": dict(self._settings),
            "reports": self._reports.state_dict(),
            "rounds": self._rounds.state_dict(),
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
        names = self._settings | found
        other = [name for name in names if found.get(name) != self._settings.get(name)]
        if other:
            raise ParameterError(
                f"{NAME}: state: of a sampler with other {', '.join(other)}; load it into one that "
                "is built alike"
            )
        self._loaded, self._replaced = state, self._loaded
        self._reports.load_state_dict(state["reports"])
        self._rounds.load_state_dict(state["rounds"])
        self._iteration = None

    def _resume_after(self, count: int) -> None:
        """Go on where a stateful loader was left that had given so many batches to the loop.

        The state that such a loader keeps is of the time when the last of them was drawn: the
        losses that were reported since are not in it. Those of a state that was loaded before it,
        and is of the time when the loader was left, are.
        """
        better = self._replaced
        if better is not None and reported_batches(better["reports"]) == count:
            self.load_state_dict(better)
        self._reports.give_up(count)

    def _draw(self) -> list[int]:
        """Draw the next batch, and return this process's part; begin a round first if need be."""
        self._loaded = self._replaced = None
        reports, alone = self._reports, self._exchange.alone
        number, begins = reports.drawn, not self._rounds.holds(self._size)
        if not self._asks:
            reports.forget_until(number - self._lag)
        elif begins or number % COUNTED_EVERY == 0:
            reports.count_until(number - self._lag, required=begins or not alone)
        if begins:
            progress = number / self._steps
            history = reports.history
            observed = history.observed(progress, self._rounds.begun, self._strata)
            self._rounds.begin(observed, self._size, self._quality)
        return reports.expect(*self._rounds.take(self._size)).listed


class _Iteration(Iterator[list[int]]):
    """One iteration: batches that come again, then new ones up to ``end``.

    Its state is for loaders that keep it, such as torchdata's StatefulDataLoader.
    """

    def __init__(self, sampler: LossBatchSampler, again: deque[Batch], end: int) -> None:
        self._sampler = sampler
        self._again = again
        self._end = end

    def __next__(self) -> list[int]:
        """Return this process's part of the next batch."""
        sampler = self._sampler
        if sampler._iteration is not self:
            raise OrderError(f"{NAME}: another iteration has begun; use one at a time")
        if self._again:
            return self._again.popleft().listed
        if sampler._reports.drawn >= self._end:
            raise StopIteration
        return sampler._draw()

    def state_dict(self) -> dict[str, int]:
        """Return how many batches were drawn."""
        return {"drawn": self._sampler._reports.drawn - len(self._again)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on after so many batches; those of them whose losses were not reported are let go."""
        sampler = self._sampler
        sampler._resume_after(state["drawn"])
        sampler._iteration = self
        self._again = deque(sampler._reports.due)
        self._end = sampler._epoch_end(state["drawn"])


def _at_least_1(name: str, value: Any) -> int:
    return whole_number(value, f"{NAME}: {name}", 1)


def _default_lag(count: int, batch_size: int) -> int:
    return min(MOST_LAG, max(LEAST_LAG, count // batch_size // 4))


def _strata(rule: str, groups: Any, count: int) -> Tensor | None:
    if groups is None:
        if RULES[rule].needs_groups:
            raise ParameterError(f"{NAME}: rule: '{rule}' needs groups, such as the labels")
        return None
    strata = integers(groups, "groups")
    if len(strata) != count:
        raise ParameterError(
            f"{NAME}: groups: {len(strata)} for {count} examples; give one for each"
        )
    return strata


def _quality(values: Any, count: int) -> Tensor | None:
    if values is None:
        return None
    try:
        quality = torch.as_tensor(values).detach().cpu().float().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(
            f"{NAME}: label_quality: must be numbers from 0 to 1, one for each example: {error}"
        ) from None
    if quality.shape != (count,):
        raise ParameterError(
            f"{NAME}: label_quality: of shape {tuple(quality.shape)} for {count} examples; give "
            "one number for each"
        )
    outside = ~((quality >= 0.0) & (quality <= 1.0))
    if bool(outside.any()):
        row = int(outside.int().argmax())
        raise ParameterError(
            f"{NAME}: label_quality: row {row} is {float(quality[row]):g}; must be from 0 to 1"
        )
    return quality


def _digest(values: Tensor | None) -> str:
    return "" if values is None else hashlib.sha256(values.numpy().tobytes()).hexdigest()
