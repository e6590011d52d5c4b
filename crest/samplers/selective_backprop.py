"""Selective-Backprop: a forward pass for every candidate, a backward pass for the larger losses.

Jiang et al., *Accelerating Deep Learning by Focusing on the Biggest Losers*, 2019, arXiv
1910.00762. The rule of the same name in :mod:`crest.samplers.rules` does without the forward
passes.
"""

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from crest.devices.generators import copy_of
from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import require_finite
from crest.samplers.base import Context, Record
from crest.samplers.passes import Passes
from crest.samplers.random import check_fits
from crest.selection.coresets import NO_REGION, MiniBatchCoreset, Outputs, uniform

if TYPE_CHECKING:
    from crest.methods.selective_backprop import SelectiveBackpropParameters


class SelectiveBackprop:
    """Yields mini-batches of exactly m of those candidates that were kept, in their order.

    Candidates come m at a time, without replacement through each epoch. Those of the first epoch
    are all kept, unscored, as in the authors' code. Where that trains on a short batch at the end
    of an epoch, here the next epoch fills it.

    Raises
    ------
    ParameterError
        If the mini-batch is larger than the training set.
    """

    def __init__(self, context: "Context[SelectiveBackpropParameters]") -> None:
        check_fits(context.batch_size, len(context.train))
        self._size = context.batch_size
        self._generator = context.generator
        self._power = context.parameters.power
        self._history_size = context.parameters.history
        self._evaluator = FoldingEvaluator.of(context.evaluator)
        self._passes = Passes(len(context.train), context.generator)
        self._unscored = len(context.train)  # what is left of the first epoch
        self._kept = torch.empty(0, dtype=torch.int64)
        self._history = torch.empty(0)
        self._scored = 0
        self._seconds = 0.0

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Keep candidates until there are m.

        Raises
        ------
        TrainingError
            If a loss is not a finite number.
        """
        while len(self._kept) < self._size:
            self._kept = torch.cat([self._kept, self._some_kept(step)])
        taken, self._kept = self._kept[: self._size], self._kept[self._size :]
        return uniform(taken)

    def upcoming(self) -> Tensor | None:
        """Return the next m examples; None where candidates are scored first."""
        if len(self._kept) >= self._size:
            return self._kept[: self._size]
        if self._unscored <= 0:
            return None
        candidates = self._passes.foreseen(self._size, copy_of(self._generator))
        return torch.cat([self._kept, candidates])[: self._size]

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Learn nothing from a step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is left of the epoch and of what was kept, recent losses, the generator."""
        return {
            "passes": self._passes.state_dict(),
            "unscored": self._unscored,
            "kept": self._kept.clone(),
            "history": self._history.clone(),
            "scored": self._scored,
            "seconds": self._seconds,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the next step."""
        self._passes.load_state_dict(state["passes"])
        self._unscored = state["unscored"]
        self._kept = state["kept"].clone()
        self._history = state["history"].clone()
        self._scored = state["scored"]
        self._seconds = state["seconds"]
        self._generator.set_state(state["generator"])

    def record(self) -> Record:
        """Return what scoring took."""
        return Record(seconds={"select": self._seconds}, counts={"examples_scored": self._scored})

    def _some_kept(self, step: int) -> Tensor:
        """Return those of the next m candidates that are kept, in their order."""
        candidates = self._passes.take(self._size)
        if self._unscored > 0:
            self._unscored -= self._size
            return candidates
        started = time.perf_counter()
        scored = self._evaluator.score(candidates, features=False)
        require_finite(scored, step, NO_REGION)
        losses = scored.losses.cpu()
        self._history = torch.cat([self._history, losses])[-self._history_size :]
        chances = ranks(losses, self._history).pow(self._power)
        kept = candidates[torch.rand(len(chances), generator=self._generator) < chances]
        self._scored += len(candidates)
        self._seconds += time.perf_counter() - started
        return kept


def ranks(losses: Tensor, history: Tensor) -> Tensor:
    """Return the share of losses in a history that are smaller; float32 k, in [0, 1].

    Of equal losses half are smaller: where all are learned by heart, and every loss is 0, the
    authors' strict comparison would keep nothing, for ever.

    Parameters
    ----------
    losses, history
        float32, k and R.
    """
    in_order = history.sort().values
    below = torch.searchsorted(in_order, losses)
    up_to = torch.searchsorted(in_order, losses, right=True)
    return (below + up_to).float() / (2 * len(history))
