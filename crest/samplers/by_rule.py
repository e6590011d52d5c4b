"""Mini-batches drawn in rounds by a rule of :data:`crest.samplers.rules.RULES`.

What :class:`crest.LossBatchSampler` is for anybody's loop, without its lag: a round is drawn by the
losses of all steps before it. Nothing is scored, so that a step costs what Random's costs.
"""

from typing import Any

import torch
from torch import Tensor

from crest.errors import OrderError
from crest.samplers.base import Context, Record
from crest.samplers.label_quality import LabelQuality
from crest.samplers.loss_history import LossHistory
from crest.samplers.loss_rounds import LossRounds
from crest.samplers.random import check_fits
from crest.samplers.rules import Rule
from crest.selection.coresets import MiniBatchCoreset, Outputs


class ByRule:
    """Yields mini-batches of exactly m, drawn without replacement in rounds, with a rule's weights.

    Parameters
    ----------
    context
        What the method may use.
    name, rule
        The method, and what says who takes part in a round.
    stratified
        Whether every class has of any stretch of a round the share that takes part.
    quality
        How likely each label is right, by which it takes part less often; None to believe all.

    Raises
    ------
    ParameterError
        If the mini-batch is larger than the training set.
    """

    def __init__(
        self,
        context: Context[Any],
        name: str,
        rule: Rule,
        stratified: bool,
        quality: LabelQuality | None = None,
    ) -> None:
        labels = context.train.labels
        check_fits(context.batch_size, len(labels))
        self._name = name
        self._size, self._steps = context.batch_size, context.steps
        self._labels = labels
        self._may_skip = context.may_skip
        self._history = LossHistory(len(labels), rule)
        self._rounds = LossRounds(
            len(labels), rule, context.generator, labels if stratified else None
        )
        self._quality = quality or LabelQuality.believed(context)
        self._waiting: list[tuple[Tensor, Tensor]] = []  # batches of this round, and their losses

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the next m examples of the round."""
        if not self._rounds.holds(self._size):
            self._remember()
            progress = step / self._steps
            observed = self._history.observed(progress, self._rounds.begun, self._labels)
            self._rounds.begin(observed, self._size, self._quality.values)
        order, start = self._rounds.take(self._size)
        end = start + self._size
        return MiniBatchCoreset(order.indices[start:end].long(), order.weights_of(start, end))

    def upcoming(self) -> Tensor | None:
        """Return the next m examples; None where another round begins."""
        return self._rounds.peek(self._size)

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Keep the losses of the step; a GPU's are fetched at the next round's start.

        Raises
        ------
        OrderError
            If its loop did not give the logits.
        """
        if outputs is None:
            raise OrderError(
                f"{self._name}: the losses of training are remembered, but the step came without "
                "its logits; pass them: step(logits)"
            )
        self._waiting.append((minibatch.indices, outputs.losses))

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, what is left of the round, and the generator."""
        self._remember()
        return {
            "history": self._history.state_dict(),
            "rounds": self._rounds.state_dict(),
            "quality": self._quality.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a round."""
        self._waiting = []
        self._history.load_state_dict(state["history"])
        self._rounds.load_state_dict(state["rounds"])
        self._quality.load_state_dict(state["quality"])

    def record(self) -> Record:
        """Keep what the search for label noise took."""
        quality = self._quality
        return Record(
            seconds=quality.took() or None,
            counts={"examples_scored": quality.scored} if quality.scored else None,
            used=quality.used() or None,
        )

    def _remember(self) -> None:
        """Let the losses that wait count; of a step that a scaler skipped, those that are known."""
        if not self._waiting:
            return
        indices, losses = zip(*self._waiting, strict=True)
        self._waiting = []
        found = torch.stack(losses).float().cpu()
        if self._may_skip:
            found = torch.where(found.isfinite(), found, torch.nan)
        self._history.remember(torch.stack(indices), found)
