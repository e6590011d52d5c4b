"""Coresets: the methods in a loop of one's own.

Without stages, files or params.yaml.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn, Unpack

import polars as pl
import torch
from torch import Tensor, nn

from crest import artifacts
from crest.data.given import Gather, whole_number
from crest.devices.transfer import on_device
from crest.errors import (
    ArtifactError,
    OrderError,
    TrainingError,
)
from crest.loop_support.batches import ChosenBatches, Iteration, Queue
from crest.loop_support.guards import Autocast, Ranks, Weights, refuse_cleared, warn_of_rounding
from crest.loop_support.logits import is_finite, logits_of, refuse_probabilities
from crest.loop_support.option_types import Options
from crest.loop_support.options import named_as_arguments, parameters_of
from crest.loop_support.setup import (
    check_saved,
    check_scoring_model,
    context_of,
    plain_autograd,
    scored_by,
    settings_of,
    tried,
)
from crest.loop_support.state import checked_state, digest_of
from crest.methods import METHODS
from crest.samplers.saved import SavedCoresets
from crest.selection.coresets import MiniBatchCoreset, Outputs

CHECKED_EVERY = 8  # steps after which weights are compared with those of the beginning
# Columns of the 'steps' table; the loop knows the others.
RECORDED = ("step", "region", "minibatch", "examples", "seconds")


class Coresets:
    """Says, for each step of a training loop, which examples to train on and with which weights.

    Iterating yields ``(indices, weights)``: ``indices`` int64, m, on the CPU, into the labels;
    ``weights`` float32, m, on the model's device, by which to multiply the losses before their mean
    is taken: of mean 1, but for the random parts that craig and gradmatch take of a coreset, and
    for by_rule's infobatch. After each optimiser step call :meth:`step`, before gradients are set
    to zero. A loop that was left goes on where it was. The example is in :mod:`crest`.

    One mini-batch is one optimiser step. For gradient accumulation take it in parts, each divided
    by the whole: ``(losses * weights).sum() / m``; examples/gradient_accumulation.py shows it.

    Worker processes decode mini-batches that were chosen ahead: :meth:`batch_sampler`.

    Examples are scored in eval mode, without gradients where none are needed, and left as it
    was: modes, BatchNorm's statistics and ``requires_grad``. Only its weights are read, so that
    optimiser, schedule, augmentation and precision of training are the loop's own. A step that a
    gradient scaler skips is reported like any other: what is not finite in it is left out.

    Parameters
    ----------
    model
        A classifier on its device that ends in a :class:`torch.nn.Linear`; its output is the
        logits, B×C, or has them as ``logits``, like transformers' classifiers. Of what
        torch.compile, DistributedDataParallel or DataParallel made of it, the module within is
        scored: they share their weights. Weights that no process has as a whole (FSDP, tensor
        parallelism) are refused.
    inputs
        Returns the model's inputs for indices (int64, k, on the CPU), without augmentation: a
        tensor, or a mapping of tensors that are the model's keyword arguments. They are moved to
        the model's device.
    labels
        Integers from 0, n.
    steps
        Optimiser steps that the loop will take.
    batch_size
        Examples of a mini-batch, m.
    method
        Which of :data:`crest.methods.METHODS` chooses, such as ``crest``, ``random`` (fresh
        mini-batches without replacement, every weight 1) or ``replay`` of ``saved``.
    seed
        Of all that the method draws. The global generator of torch is not touched.
    precision
        Of scoring examples: ``float32``, ``bf16`` (autocast), or ``auto``: bf16 where the device
        computes in it.
    lengths
        What each example costs, such as its tokens, integers, n: they are then scored sorted by it.
        None if all cost the same.
    saved
        What :func:`crest.read_coresets` returned, for ``replay`` alone.
    together
        Where processes of torch.distributed train together, they are to choose the same: arguments
        and choices are compared. False where each is to choose for itself, from data of its own.
    lag
        The mini-batch of step k is chosen once step k − ``lag`` was reported, by the model and the
        outputs as they are then. Above 1 it is chosen within :meth:`step`; the first ``lag`` are
        chosen by the initial model. For :meth:`batch_sampler`, it must cover what the loader draws
        ahead: num_workers × prefetch_factor + 1. full, random, sgd, large, stratified and replay
        choose the same with any lag.
    scoring_model
        A small classifier on the model's device, for ``batch_selection`` with ``score_by="proxy"``
        or ``"memory_and_proxy"``: it scores what ``inputs`` returns, and is trained, in place.
    **options
        Parameters of the method, by their names in its section of params.yaml; the defaults of
        crest are the paper's. To compare methods by one word, name them:
        ``crest={"subset_size": 256}, focused={"focus": 1.0}``; those of the method that is chosen
        are used. Any other option is refused.

    Raises
    ------
    ParameterError
        If an argument is unknown or cannot be used; the message names it.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Gather,
        labels: Any,
        *,
        steps: int,
        batch_size: int,
        method: str = "crest",
        seed: int = 0,
        precision: str = "float32",
        lengths: Any = None,
        saved: SavedCoresets | None = None,
        together: bool = True,
        lag: int = 1,
        scoring_model: nn.Module | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._lag = whole_number(lag, "lag", 1)
        count, parameters = parameters_of(
            method, METHODS, steps, batch_size, seed, precision, options
        )
        self._method_name = method
        default = torch.get_default_device()
        with named_as_arguments(method), plain_autograd():
            check_saved(method, saved)
            check_scoring_model(method, scoring_model, model, parameters.of_method(method))
            context, split = context_of(
                model, inputs, labels, lengths, saved, count, parameters, method, default
            )
            if scoring_model is not None:
                context = scored_by(context, split, scoring_model, default)
            self._classes = tried(context, split)
            self._scores_examples = METHODS[method].scores_examples
            self._method = METHODS[method].build(context)
        warn_of_rounding(model)
        self._model = model
        self._split = split
        seed = parameters.train.seed
        self._settings = settings_of(method, seed, context, scoring_model) | {"lag": self._lag}
        self._device = context.precision.device
        self._steps = count
        self._rows: dict[str, list[Any]] = {name: [] for name in RECORDED}
        self._queue = Queue(self._choose, count, self._lag)
        self._iteration: Iteration | None = None  # of a loader
        self._seconds_choosing = self._given_at = 0.0
        self._probed_at = -1
        self._logits_checked = False
        self._weights = Weights(model)
        self._autocast = Autocast(model, self._device)
        self._together = together
        self._ranks = Ranks.of(self._settings) if together else None
        self._busy = threading.Lock()

    def __len__(self) -> int:
        """Steps in all."""
        return self._steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (indices, weights) for each step that is left.

        Raises
        ------
        OrderError
            If the last step was not reported by :meth:`step`.
        ParameterError
            If inputs that are scored are not finite; the message names the examples.
        TrainingError
            If the loss of the examples scored is no finite number, or other processes that
            train together have chosen other examples.
        """
        while self.steps_taken < self._steps:
            yield self._next()

    def batch_sampler(self) -> ChosenBatches:
        """Return the mini-batches as lists of (index, weight), for a DataLoader with workers.

        >>> coresets = Coresets(..., lag=9)  # num_workers × prefetch_factor + 1
        >>> loader = DataLoader(
        ...     Weighted(data), batch_sampler=coresets.batch_sampler(), num_workers=4
        ... )
        >>> for inputs, targets, weights in loader:
        ...     ...
        ...     coresets.step(logits)

        The sequence is that of iterating over the Coresets themselves, for any number of workers.
        One iteration yields all steps that are left; mini-batches that a loader had drawn and that
        were not reported come again, in another iteration or after :meth:`load_state_dict`. Steps
        are reported in the order of mini-batches, each before the next is asked for; the order is
        not known where a loader has ``in_order=False``.

        What cannot be done by workers: the examples that a method scores are known only when it
        chooses, so that ``inputs`` is called in this process. ``outputs="remembered"``, as of
        :func:`crest.economical`, scores few.

        Raises
        ------
        OrderError
            When it is iterated: if steps are not reported, another iteration has begun meanwhile,
            or the loader was resumed without the Coresets. Beside what iterating over the Coresets
            raises. Too small a lag is refused by :meth:`step`.
        """
        return ChosenBatches(self._begin, self._steps)

    @property
    def steps_taken(self) -> int:
        """Steps reported so far."""
        return self._queue.reported

    def step(self, logits: Any = None) -> None:
        """Take note that the optimiser's step on the last mini-batch was taken.

        Of a loader, on the first that was not reported. With a lag above 1 a mini-batch is chosen.
        With ``gradient="training"`` the gradients are read as they are now; those that were scaled
        or clipped in place are taken for the loss's, those that are not finite are left out.

        Parameters
        ----------
        logits
            The logits of the mini-batch before the step, m×C, in a tensor or in what the
            model returned; needed where ``outputs`` is remembered or ``focus`` above 0, and for
            ``by_rule`` and ``batch_selection``.

        Raises
        ------
        OrderError
            If no mini-batch was taken for it, or its logits or gradients are needed and not there.
        ParameterError
            If the logits are none of this mini-batch, its inputs not finite, or ``lag`` smaller
            than what a loader draws ahead.
        TrainingError
            If the model's weights are not finite.
        """
        with self._alone("step"):
            queue, minibatch = self._queue, self._queue.due
            if minibatch is None:
                raise OrderError(
                    "step: no mini-batch was taken since the last step; iterate for one"
                )
            queue.require_lag()
            now = time.perf_counter()
            with self._called(), plain_autograd():
                outputs = None if logits is None else self._outputs(logits, minibatch)
                if self._settings.get("gradient") == "training":
                    refuse_cleared(self._model, None if outputs is None else outputs.losses)
                self._method.update(minibatch, outputs, now - self._given_at)
            self._record(minibatch, self._seconds_choosing + now - self._given_at)
            self._seconds_choosing = 0.0
            queue.report()
            self._autocast.after_step()
            if self._lag > 1:
                queue.fill()
            self._given_at = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that a later :meth:`load_state_dict` needs to go on exactly.

        A tree of dictionaries and lists of tensors, numbers, strings, booleans and None: for
        torch.save, and for torch.load with ``weights_only=True``. Model and optimiser have states
        of their own. Mini-batches that were chosen and not reported are in it: what a loader had
        drawn is neither lost nor repeated.

        Raises
        ------
        OrderError
            If the step on the last mini-batch was not reported yet.
        """
        self._require_reported("state_dict")
        with plain_autograd():
            state = {
                "settings": self._settings,
                "rows": self._rows,
                "method": self._method.state_dict(),
                "ahead": self._queue.state_dict(),
            }
            return deepcopy(state) | {"digest": digest_of(state)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state: the next mini-batch is the one that would have come then.

        Raises
        ------
        ParameterError
            If it is damaged, no such state, or that of other arguments; the message names them.
        """
        with plain_autograd():
            copy = checked_state(state, self._settings)
            self._method.load_state_dict(copy["method"])
        self._rows = copy["rows"]
        self._queue.load_state_dict(copy["ahead"], len(self._rows["step"]))
        self._iteration = None
        self._ranks = None  # what was chosen from here on before does not count

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse to be copied or pickled: model, generator and inputs are the loop's own.

        Raises
        ------
        OrderError
            In place of an error of pickle's.
        """
        raise OrderError(
            "Coresets: cannot be copied or pickled; keep state_dict(), and load it into Coresets "
            "that are built the same way"
        )

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return what was chosen so far, as the tables of :mod:`crest.artifacts`.

        ``steps`` (lr, loss and accuracy are null: the loop knows them) and, of a method that
        chooses, ``coresets``, ``regions`` (the open one ends here) and ``examples`` (how each was
        when scored). With a lag above 1 they hold what was chosen ahead too, up to the last step.
        Nothing changes for the steps to come.

        Raises
        ------
        OrderError
            If no step was taken, or the last one was not reported yet.
        """
        self._require_reported("tables")
        if not self.steps_taken:
            raise OrderError("tables: no step was taken yet; train first")
        with plain_autograd():
            record = self._method.record()
        tables = {
            "steps": self._steps_table(),
            "coresets": record.coresets,
            "regions": record.regions,
            "examples": record.scored,
        }
        return {name: table for name, table in tables.items() if table is not None}

    def save(self, folder: str | Path) -> None:
        """Write the tables into a folder of their own, which is replaced as a whole.

        :func:`crest.read_coresets` and `cli.py reuse --coresets` read it.

        Raises
        ------
        ArtifactError
            If the method keeps no coresets that could be read, the folder holds other files, or
            it cannot be written.
        OrderError
            As :meth:`tables`.
        """
        place = Path(folder)
        tables = self.tables()
        if "coresets" not in tables:
            raise ArtifactError(
                f"{folder}: '{self._method_name}' keeps no coresets, so that nothing could be read "
                "back; tables() has its steps"
            )
        _refuse_others(place)
        with artifacts.replacing_folder(place) as partial:
            for name, table in tables.items():
                artifacts.write_table(partial / f"{name}.parquet", table)

    def _next(self) -> tuple[Tensor, Tensor]:
        with self._alone("next mini-batch"):
            if self._iteration is not None:  # of a loader that was left
                self._leave_loader()
            self._require_reported("next mini-batch")
            minibatch = self._draw()
            assert minibatch is not None, "steps are left"
            with plain_autograd():
                # Copies: the method may return the same mini-batch again.
                indices = minibatch.indices.clone()
                weights = minibatch.weights.to(self._device, copy=True)
            self._given_at = time.perf_counter()
            return indices, weights

    def _begin(self) -> Iteration:
        """Begin an iteration of a loader."""
        with self._alone("next batch"):
            self._leave_loader()
            self._iteration = Iteration(self._draw_for, self.steps_taken)
            return self._iteration

    def _draw_for(self, iteration: Iteration) -> MiniBatchCoreset | None:
        """Draw the next mini-batch of a loader's iteration."""
        with self._alone("next batch"):
            if self._iteration is not iteration:
                raise OrderError(
                    "next batch: another iteration has begun or a state was loaded meanwhile; "
                    "iterate anew, one at a time"
                )
            if iteration.drawn != self._queue.drawn:
                raise OrderError(
                    f"next batch: the loader goes on after {iteration.drawn} batches, the Coresets "
                    f"after {self._queue.drawn}; load states of both that were saved after the "
                    "same step"
                )
            waited = self._queue.due is None
            minibatch = self._draw()
            if waited:
                self._given_at = time.perf_counter()
            return minibatch

    def _leave_loader(self) -> None:
        """Let what a loader had drawn, and what was not reported, come again."""
        self._iteration = None
        self._queue.rewind()

    def _draw(self) -> MiniBatchCoreset | None:
        if self._probed_at != self.steps_taken:  # once a step, however many are drawn ahead
            self._probed_at = self.steps_taken
            self._autocast.before_minibatch()
        return self._queue.draw()

    def _choose(self, step: int) -> MiniBatchCoreset:
        """Choose the mini-batch of a step, by the model as it is."""
        started = time.perf_counter()
        if self._scores_examples and step % CHECKED_EVERY == 0:
            self._weights.check()
        with self._called(), plain_autograd(), self._autocast.apart():
            minibatch = self._chosen(step)
            self._compare(step, minibatch)
        self._seconds_choosing += time.perf_counter() - started
        return minibatch

    def _chosen(self, step: int) -> MiniBatchCoreset:
        """Ask the method; where the model was changed, that is why it fails."""
        try:
            return self._method.minibatch(step)
        except RuntimeError:
            self._weights.check()
            raise

    @contextmanager
    def _called(self) -> Iterator[None]:
        """Say in errors what the arguments are called, and which inputs made a loss no number."""
        self._split.forget()
        with named_as_arguments(self._method_name):
            try:
                yield
            except TrainingError:
                self._split.refuse_not_finite()
                raise

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Refuse to be called while a call is under way, by another thread or by ``inputs``."""
        if not self._busy.acquire(blocking=False):
            raise OrderError(f"{what}: called while another call is under way; call one at a time")
        try:
            yield
        finally:
            self._busy.release()

    def _compare(self, step: int, minibatch: MiniBatchCoreset) -> None:
        """Compare the choice with that of other processes that train together."""
        if self._together and self._ranks is None:
            self._ranks = Ranks.of(self._settings)
        if self._ranks is not None:
            self._ranks.compare(step, minibatch.indices)

    def _outputs(self, output: Any, minibatch: MiniBatchCoreset) -> Outputs | None:
        """Return what the loop has passed, with its losses where the method asks for them."""
        logits = self._checked(output, minibatch)
        if not METHODS[self._method_name].outputs:
            return None
        logits, labels, weights = (
            on_device(values, self._device)
            for values in (logits, self._split.labels[minibatch.indices], minibatch.weights)
        )
        return Outputs.of(logits, labels, weights)

    def _checked(self, output: Any, minibatch: MiniBatchCoreset) -> Tensor:
        """Return the logits in what the loop has passed, if they can be those."""
        logits = logits_of(output, len(minibatch.indices), self._classes)
        if not self._logits_checked:
            refuse_probabilities(logits)
            self._logits_checked = True
        # On a GPU to read them would have to wait for it.
        if (not logits.is_cuda or self.steps_taken % 64 == 0) and not is_finite(logits):
            self._split.refuse_not_finite(minibatch.indices)
            if not all(bool(weight.isfinite().all()) for weight in self._model.parameters()):
                raise TrainingError(
                    f"step {self.steps_taken}: the model's weights are no finite numbers any more; "
                    "lower the learning rate, or train in float32"
                )
        return logits

    def _require_reported(self, what: str) -> None:
        if self._iteration is None and self._queue.due is not None:
            raise OrderError(
                f"{what}: the step on the last mini-batch was not reported; call step() of the "
                "coresets after the optimiser's. A mini-batch is one step of it: to accumulate "
                "gradients, take a larger one in parts"
            )

    def _steps_table(self) -> pl.DataFrame:
        unknown = [None] * self.steps_taken
        schema = dict(artifacts.TABLES["steps"])
        return pl.DataFrame({name: self._rows.get(name, unknown) for name in schema}, schema)

    def _record(self, minibatch: MiniBatchCoreset, seconds: float) -> None:
        """Add a row of the 'steps' table; its seconds are those of choosing and of the steps."""
        examples, before = (
            self._rows[name][-1] if self.steps_taken else 0 for name in ("examples", "seconds")
        )
        row = {
            "step": self.steps_taken,
            "region": minibatch.region,
            "minibatch": minibatch.number,
            "examples": examples + len(minibatch.indices),
            "seconds": before + seconds,
        }
        for name, value in row.items():
            self._rows[name].append(value)


def _refuse_others(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but tables that are written here."""
    ours = (artifacts.STEPS, artifacts.CORESETS, artifacts.REGIONS, artifacts.EXAMPLES)
    if (other := artifacts.others_in(folder, ours)) is not None:
        raise ArtifactError(
            f"{folder}: holds {other}, which would be removed with it; name another folder"
        )
