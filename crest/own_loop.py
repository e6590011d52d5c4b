"""CREST in a loop of one's own: a front of the methods, without stages, files or params.yaml."""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Unpack

import polars as pl
import torch
from torch import Tensor, nn

from crest import artifacts
from crest.config import CrestOptions, Parameters, parse
from crest.data.given import Gather, GivenSplit, integers
from crest.errors import (
    ArtifactError,
    DivergedError,
    OrderError,
    ParameterError,
    TrainingError,
)
from crest.inference import look
from crest.methods import METHODS, Context
from crest.models.classifier import Classifier
from crest.selection.coresets import MiniBatchCoreset
from crest.selection.saved import SavedCoresets
from crest.training.generators import generator_for
from crest.training.precision import resolve_precision

# Columns of the 'steps' table; the loop knows the others.
RECORDED = ("step", "region", "minibatch", "examples", "seconds")


class Coresets:
    """Says, for each step of a training loop, which examples to train on and with which weights.

    Iterating yields ``(indices, weights)``: ``indices`` int64, m, on the CPU, into the labels;
    ``weights`` float32, m, mean 1, on the model's device, by which to multiply the losses before
    their mean is taken. After each optimiser step call :meth:`step`, before gradients are set to
    zero. A loop that was left goes on where it was. The example is in :mod:`crest`.

    The model is looked at in eval mode, without gradients where none are needed, and left as it
    was: modes, BatchNorm's statistics and ``requires_grad``. Only its weights are read, so that
    optimiser, schedule, augmentation and precision of training are the loop's own.

    Parameters
    ----------
    model
        A classifier on its device that ends in a :class:`torch.nn.Linear`; its answer is the
        logits, B×C, or has them as ``logits``, like transformers' classifiers. The module itself,
        not what torch.compile made of it: the two share their weights.
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
        Of looks at examples: ``float32``, ``bf16`` (autocast), or ``auto``: bf16 where the device
        computes in it.
    lengths
        What each example costs, such as its tokens, integers, n: looks then take them sorted. None
        if all cost alike.
    saved
        What :func:`crest.read_coresets` returned, for ``replay``.
    **options
        Parameters of crest, by their names in :class:`crest.config.CrestParameters`; the defaults
        are the paper's. Other methods leave them alone, so that one word changes the method.

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
        **options: Unpack[CrestOptions],
    ) -> None:
        with _named_as_arguments():
            parameters = _parameters(method, steps, batch_size, seed, precision, options)
            context = _context(model, inputs, labels, lengths, saved, steps, parameters)
            _try(context)
            self._method = METHODS[method].build(context)
        self._settings = _settings(method, context)
        self._device = context.precision.device
        self._steps = steps
        self._rows: dict[str, list[Any]] = {name: [] for name in RECORDED}
        self._minibatch: MiniBatchCoreset | None = None  # whose step was not reported yet
        self._asked_at = self._handed_out_at = 0.0

    def __len__(self) -> int:
        """Steps in all."""
        return self._steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (indices, weights) for each step that is left.

        Raises
        ------
        OrderError
            If the last step was not reported by :meth:`step`.
        TrainingError
            If the loss of the examples looked at is no finite number.
        """
        while self.steps_taken < self._steps:
            yield self._next()

    @property
    def steps_taken(self) -> int:
        """Steps reported so far."""
        return len(self._rows["step"])

    def step(self, logits: Tensor | None = None) -> None:
        """Be told that the optimiser's step on the last mini-batch was taken.

        With ``gradient="training"`` the gradients are read as they are now; those that were scaled
        or clipped in place are taken for the loss's.

        Parameters
        ----------
        logits
            What the model said of the mini-batch before the step, m×C; needed where ``looks`` is
            remembered or ``focus`` above 0, else left alone.

        Raises
        ------
        OrderError
            If no mini-batch was taken for it, or its logits or gradients are needed and not there.
        """
        minibatch = self._minibatch
        if minibatch is None:
            raise OrderError("step: no mini-batch was taken since the last step; iterate for one")
        now = time.perf_counter()
        with _named_as_arguments():
            said = None if logits is None else logits.detach()
            self._method.update(self.steps_taken, now - self._handed_out_at, said)
        self._record(minibatch, now - self._asked_at)
        self._minibatch = None

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that a later :meth:`load_state_dict` needs to go on exactly.

        A tree of dictionaries and lists of tensors, numbers, strings, booleans and None: for
        torch.save, and for torch.load with ``weights_only=True``. Model and optimiser have states
        of their own.

        Raises
        ------
        OrderError
            If the step on the last mini-batch was not reported yet.
        """
        self._require_reported("state_dict")
        state = {"settings": self._settings, "rows": self._rows, "method": self._method.state()}
        return deepcopy(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state: the next mini-batch is the one that would have come then.

        Raises
        ------
        ParameterError
            If it is the state of other arguments; the message names them.
        """
        found = state.get("settings", {})
        different = [name for name, value in self._settings.items() if found.get(name) != value]
        if different:
            raise ParameterError(
                f"state: of Coresets with other {', '.join(different)}; load it into Coresets that "
                "are built as those were"
            )
        copy = deepcopy(dict(state))
        self._method.load_state(copy["method"])
        self._rows = copy["rows"]
        self._minibatch = None

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return what was chosen so far, as the tables of :mod:`crest.artifacts`.

        ``steps`` (lr, loss and accuracy are null: the loop knows them) and, of a method that
        chooses, ``coresets``, ``regions`` (the open one ends here) and ``examples`` (how each was
        when looked at). Nothing changes for the steps to come; it costs a copy of the state.

        Raises
        ------
        OrderError
            If no step was taken, or the last one was not reported yet.
        """
        self._require_reported("tables")
        if not self.steps_taken:
            raise OrderError("tables: no step was taken yet; train first")
        state = deepcopy(self._method.state())
        record = self._method.finish()
        self._method.load_state(state)
        tables = {
            "steps": self._steps_table(),
            "coresets": record.coresets,
            "regions": record.regions,
            "examples": record.looks,
        }
        return {name: table for name, table in tables.items() if table is not None}

    def save(self, folder: str | Path) -> None:
        """Write the tables into a folder of their own, which is replaced as a whole.

        :func:`crest.read_coresets` and `cli.py reuse --coresets` read it.

        Raises
        ------
        ArtifactError
            If the folder holds other files, or cannot be written.
        OrderError
            As :meth:`tables`.
        """
        place = Path(folder)
        _refuse_others(place)
        with artifacts.replacing_folder(place) as partial:
            for name, table in self.tables().items():
                artifacts.write_table(partial / f"{name}.parquet", table)

    def _next(self) -> tuple[Tensor, Tensor]:
        self._require_reported("next mini-batch")
        self._asked_at = time.perf_counter()
        with _named_as_arguments():
            minibatch = self._method.minibatch(self.steps_taken)
        self._minibatch = minibatch
        self._handed_out_at = time.perf_counter()
        # Copies: the method may hand out the same mini-batch again.
        return minibatch.indices.clone(), minibatch.weights.to(self._device, copy=True)

    def _require_reported(self, what: str) -> None:
        if self._minibatch is not None:
            raise OrderError(
                f"{what}: the step on the last mini-batch was not reported; call step() of the "
                "coresets after the optimiser's"
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


def focused(batch_size: int) -> CrestOptions:
    """Return the options of crest that pay: a focus on what is not learned, a share for each class.

    Those of the preset cifar10-resnet20-focused, for mini-batches of ``batch_size``: what the model
    said of each mini-batch is remembered, so that :meth:`Coresets.step` needs the logits.
    """
    return {
        "choice": "balanced",
        "subset_size": 4 * batch_size,
        "interval_factor": 40.0,
        "selection": "as_used",
        "looks": "remembered",
        "draw": "stratified_rounds",
        "focus": 0.5,
        "focus_until": 0.85,
        "subset_coresets": 4,
        "curvature_minibatches": 5,
        "curvature_interval": 2000,
        "gradient": "training",
        "region_loss": "filtered",
    }


def _parameters(
    method: str, steps: int, batch_size: int, seed: int, precision: str, options: Mapping[str, Any]
) -> Parameters:
    """Check the arguments that need no data."""
    if method not in METHODS:
        raise ParameterError(f"method: '{method}' is not one of {', '.join(METHODS)}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ParameterError(f"steps: must be a whole number from 1 up, not {steps!r}")
    train = {"batch_size": batch_size, "seed": seed, "precision": precision}
    return parse({"train": train, "crest": dict(options)}, "Coresets")


def _context(
    model: nn.Module,
    inputs: Gather,
    labels: Any,
    lengths: Any,
    saved: SavedCoresets | None,
    steps: int,
    parameters: Parameters,
) -> Context:
    """Return what a method is given."""
    if not callable(inputs):
        raise ParameterError(
            "inputs: must be a function of indices, such as lambda indices: images[indices], not "
            f"a {type(inputs).__name__}"
        )
    weight = next(model.parameters(), None)
    if weight is None:
        raise ParameterError(f"model: {type(model).__name__} has no parameters to train")
    numbers = integers(labels, "labels")
    costs = None if lengths is None else integers(lengths, "lengths")
    if costs is not None and len(costs) != len(numbers):
        raise ParameterError(f"lengths: {len(costs)} for {len(numbers)} labels; give one for each")
    return Context(
        model=Classifier(model),
        train=GivenSplit(inputs, numbers, costs, weight.device),
        steps=steps,
        batch_size=parameters.train.batch_size,
        precision=resolve_precision(parameters.train.precision, weight.device),
        generator=generator_for(parameters.train.seed, "method"),
        parameters=parameters,
        saved=saved,
    )


def _try(context: Context) -> None:
    """Look at a few examples, so that a misfit shows before any training."""
    labels = context.train.labels
    shown = look(context.model, context.train, torch.arange(len(labels))[:2], context.precision)
    classes = shown.logits.shape[1]
    if (highest := int(labels.max())) >= classes:
        row = int(labels.argmax())
        raise ParameterError(
            f"labels: row {row}: {highest} is outside the {classes} classes of the model, which "
            "count from 0"
        )


def _settings(method: str, context: Context) -> dict[str, Any]:
    """Return what a saved state depends on."""
    parameters = context.parameters
    return {
        "method": method,
        "steps": context.steps,
        "batch_size": context.batch_size,
        "seed": parameters.train.seed,
        "precision": context.precision.name,
        "labels": hashlib.sha256(context.train.labels.numpy().tobytes()).hexdigest(),
        **parameters.crest.model_dump(),
    }


def _refuse_others(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but tables that are written here."""
    ours = (artifacts.STEPS, artifacts.CORESETS, artifacts.REGIONS, artifacts.EXAMPLES)
    if (other := artifacts.others_in(folder, ours)) is not None:
        raise ArtifactError(
            f"{folder}: holds {other}, which would be removed with it; name another folder"
        )


@contextmanager
def _named_as_arguments() -> Iterator[None]:
    """Call parameters in errors what the arguments are called: without a section's name."""
    try:
        yield
    except DivergedError as error:
        raise TrainingError(f"{error.what}; lower the learning rate, or train in float32") from None
    except (OrderError, ParameterError, TrainingError) as error:
        raise type(error)(re.sub(r"\b(crest|train)\.(?=[a-z_]+)", "", str(error))) from None
