"""How likely each label of a run is right: found before its first round, kept with its state."""

import time
from typing import Any

import torch
from torch import Tensor

from crest.inference.evaluator import Evaluator
from crest.label_noise import quality_of
from crest.models.head import last_module
from crest.samplers.base import Context
from crest.samplers.embedded import Embedded

LEAST_PASSES = 2  # of shorter runs, finding it would be no small part


class LabelQuality:
    """The quality of a run's labels, as :mod:`crest.label_noise` has it; one process finds it.

    It is found by the inputs, and by what a pretrained model makes of them before the first step.

    Nothing is drawn from the method's generator: without noise the mini-batches are those of a
    method that never asked.

    Parameters
    ----------
    context
        What the method may use.
    key
        The parameter by which it is asked for.
    wanted
        Whether it is.

    Attributes
    ----------
    seconds
        What finding it took.
    scored
        How many examples went through a pretrained model for it.
    possible
        Whether the inputs are of a kind that noise is found by.
    """

    def __init__(self, context: Context[Any], key: str, wanted: bool) -> None:
        count = len(context.train)
        # Of whole mini-batches two passes may lack a part of one.
        least = LEAST_PASSES * count // context.batch_size
        self.key = key
        self._context = context
        self._found: Tensor | None = None  # n, or none of them: the labels are believed
        if not wanted or context.steps < least:
            self._found = torch.empty(0)
        self.seconds = 0.0
        self.scored = 0
        self.possible = True

    @classmethod
    def believed(cls, context: Context[Any]) -> "LabelQuality":
        """Return that of a method that believes all labels."""
        return cls(context, "", wanted=False)

    @property
    def values(self) -> Tensor | None:
        """float32, n; None where all labels are believed."""
        found = self.find()
        return found if len(found) else None

    def find(self) -> Tensor:
        """Find it, unless it is known: float32, n; none where all labels are believed."""
        if self._found is None:
            started = time.perf_counter()
            self._found = self._shared(self._find())
            self.seconds = time.perf_counter() - started
        return self._found

    def took(self) -> dict[str, float]:
        """Return the seconds that finding it took, by the name of that part."""
        return {"label_noise": self.seconds} if self.seconds else {}

    def used(self) -> dict[str, str]:
        """Return the parameter, where what it asked for could not be had."""
        return {} if self.possible else {self.key: "false"}

    def state_dict(self) -> dict[str, Any]:
        """Return what was found."""
        return {
            "found": self._found,
            "seconds": self.seconds,
            "scored": self.scored,
            "possible": self.possible,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what was found."""
        self._found, self.seconds = state["found"], state["seconds"]
        self.scored = state["scored"]
        self.possible = state["possible"]

    def _find(self) -> Tensor:
        """Return the quality of each label; 1 each where little noise is found."""
        context = self._context
        count = len(context.train)
        if not context.group.first:
            return torch.zeros(count)
        labels = context.train.labels
        generator = torch.Generator().manual_seed(context.generator.initial_seed())
        embedded = self._embedded()
        quality = quality_of(context.train, int(labels.max()) + 1, generator, embedded)
        self.possible = quality is not None
        self.scored = 0 if embedded is None else embedded.scored
        return torch.ones(count) if quality is None else quality

    def _embedded(self) -> Embedded | None:
        """Return what a pretrained model makes of the examples; None where none is."""
        context = self._context
        if not context.pretrained or last_module(context.model) is None:
            return None
        evaluator = Evaluator(context.model, context.train, context.precision)
        return Embedded(evaluator, self.key, context.pause)

    def _shared(self, quality: Tensor) -> Tensor:
        """Return the first process's quality; empty where all labels are believed."""
        quality = self._context.group.sum(quality.to(self._context.precision.device)).cpu()
        return torch.empty(0) if bool((quality == 1.0).all()) else quality
