"""What a method is: it says, for each step, which examples to train on and with which weights.

The loop knows no method by name, and a method does not know how the model is trained. It is given
a :class:`Context`, asked for a mini-batch before each step and updated after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import polars as pl
import torch
from torch import Tensor, nn

from crest.data.prepared import Split
from crest.data.views.alternating import AlternatingFlips
from crest.devices.distributed import ALONE, Group
from crest.devices.precision import Precision
from crest.errors import Interrupted, ParameterError
from crest.inference.evaluator import Evaluator
from crest.parameters.section import Section
from crest.samplers.saved import SavedCoresets
from crest.selection.coresets import MiniBatchCoreset, Outputs

Own = TypeVar("Own", bound=Section)


def no_model(name: str) -> nn.Module:
    """Refuse to build a model, in a loop that has only its own."""
    raise ParameterError(
        "scoring_model: none was given to score candidates by; pass a small model on the device of "
        "the large one, which takes the same inputs"
    )


@dataclass(frozen=True)
class Context(Generic[Own]):
    """What a method may use and draw from.

    ``parameters`` are the method's own section.
    ``steps`` is the budget in optimiser steps and ``batch_size`` is m; ``generator`` (on the CPU)
    is the method's own, so that no other draw depends on the method. ``saved`` holds coresets of
    an earlier run, for methods that train on them. ``stop`` returns the number of the signal that
    asks the run to stop, 0 if there was none: whatever takes seconds asks now and then, and raises
    :class:`Interrupted`, as if it had never begun. ``group`` are the processes that train together:
    they share forward passes, and each has to come to the same mini-batches. ``may_skip``: a step
    may be one that a gradient scaler skipped, so that what is not finite in it is left out.
    ``build_model`` returns a fresh model of the examples by its name, as train.model has it.
    ``flips`` knows how each example is flipped next, where flips alternate, and
    ``label_smoothing`` is that of the loss that is trained on. ``pretrained``: the model's weights
    were learned elsewhere, so that it tells something of the examples before the first step.
    """

    model: nn.Module
    train: Split
    steps: int
    batch_size: int
    precision: Precision
    generator: torch.Generator
    parameters: Own
    saved: SavedCoresets | None = None
    stop: Callable[[], int] = lambda: 0
    group: Group = ALONE
    may_skip: bool = False
    build_model: Callable[[str], nn.Module] = no_model
    flips: AlternatingFlips | None = None
    label_smoothing: float = 0.0
    pretrained: bool = False

    def draw_views(self, indices: Tensor) -> Tensor:
        """Draw views of examples by the method's own generator; int64, a row each, on the CPU."""
        draws = self.train.draw_views(len(indices), self.generator)
        return draws if self.flips is None else self.flips.put(indices, draws)

    @property
    def evaluator(self) -> Evaluator:
        """The model on the training set, whose forward passes the processes share."""
        return Evaluator(self.model, self.train, self.precision, self.group, self.label_smoothing)

    def pause(self) -> None:
        """Raise :class:`Interrupted` if the run is to stop."""
        if signal_number := self.stop():
            raise Interrupted(signal_number)


@dataclass(frozen=True)
class Record:
    """What a method keeps of a run; None for what it does not have.

    ``coresets``, ``regions`` and ``scored`` are tables as in :mod:`crest.artifacts`
    (``scored``: the 'examples' table of the selection pass); ``seconds`` adds up the time of each
    part of choosing, ``counts`` what it did. ``used`` holds the parameters, by their full key, that
    were not what was asked for, because that could not be had.
    """

    coresets: pl.DataFrame | None = None
    regions: pl.DataFrame | None = None
    scored: pl.DataFrame | None = None
    seconds: dict[str, float] | None = None
    counts: dict[str, int] | None = None
    used: dict[str, str] | None = None


@runtime_checkable
class Foreseeing(Protocol):
    """A method that knows mini-batches before they are asked for."""

    def upcoming(self) -> Tensor | None:
        """Return the indices of the next mini-batch, int64, None where they are not known yet.

        Nothing is drawn; the loop makes views of them while a step is computed.
        """
        ...


class Method(Protocol):
    """Chooses what to train on."""

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Return the mini-batch of step ``step``; called once for each step, in order.

        It may be some steps ahead of :meth:`update`.
        """
        ...

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Take note that the step on this mini-batch, the next in order, was taken.

        Parameters
        ----------
        outputs
            What the step knew. None where a loop of somebody's own does not give its logits, or the
            entry in METHODS does not ask for them.
        seconds
            What the step took.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs to go on exactly.

        A tree of dictionaries and lists of tensors, numbers, strings, booleans and None.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state; called before the first mini-batch."""
        ...

    def record(self) -> Record:
        """Return what is kept of the run up to here; the steps to come go on as without it."""
        ...
