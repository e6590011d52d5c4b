"""Random subsets of V: which examples they hold, and what is known of these without scoring."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from crest.errors import OrderError
from crest.inference.evaluator import Evaluator
from crest.inference.forward import ForwardPass, joined
from crest.models.head import classes_of
from crest.regions.active import ActiveSet
from crest.samplers.base import Context
from crest.samplers.label_quality import LabelQuality
from crest.samplers.memory import Memory
from crest.samplers.rounds import Focus, Rounds, weighed
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.selection.shares import stratified_subset

if TYPE_CHECKING:
    from crest.methods.crest import CrestParameters


class Subsets:
    """Draws subsets V_p and V_r of V, and knows the outputs of their examples.

    Drawn as crest.draw and crest.focus say; outputs are fresh, or remembered from training and
    from earlier scoring, as crest.outputs says.

    Parameters
    ----------
    active
        V.
    size
        r.

    Attributes
    ----------
    examples_scored
        How many went through the model.
    without_replacement
        Whether every V_p is drawn without replacement from a round of V.
    quality
        How likely each label is right, where that is asked for.
    scores_all
        Whether what is scored where a region opens has the losses of all of V.
    """

    def __init__(
        self,
        context: Context,
        parameters: "CrestParameters",
        evaluator: Evaluator,
        active: ActiveSet,
        size: int,
    ) -> None:
        labels, focus = context.train.labels, Focus.of(parameters.focus)
        self._evaluator = evaluator
        self._active = active
        self._size = size
        self._generator = context.generator
        self._features = parameters.proxy != "logits"
        self._strata = labels if parameters.draw == "stratified" else None
        self._focus_until = round(parameters.focus.until * context.steps)
        self._remembered = parameters.outputs == "remembered"
        self._weights = parameters.focus.weights
        self.quality = LabelQuality(context, "crest.label_noise", parameters.label_noise)
        self._memory: Memory | None = None
        self._rounds: Rounds | None = None
        if self._remembered or parameters.focus.exponent > 0.0:
            kept = classes_of(context.model) if self._remembered else 0
            self._memory = Memory(labels, context.precision.device, kept, context.may_skip)
        if parameters.draw in ("without_replacement", "stratified_without_replacement"):
            strata = labels if parameters.draw == "stratified_without_replacement" else None
            self._rounds = Rounds(
                active,
                self._last_losses,
                focus,
                context.generator,
                self._weights,
                strata,
                lambda: self.quality.values,
            )
        self.examples_scored = 0
        self.without_replacement = self._rounds is not None
        self.scores_all = not self.without_replacement or self._memory is None

    def draw(self) -> Tensor:
        """Draw V_r, a random subset of V; int64, r, all different."""
        if self._strata is not None:
            members = self._active.members()
            drawn = stratified_subset(members, self._strata, self._size, self._generator)
            return drawn.long()
        return self._active.draw(self._size, self._generator)

    def take(self, step: int) -> Tensor:
        """Return the next V_p; int64, r, all different."""
        if self._rounds is None:
            return self.draw()
        return self._rounds.take(self._size, uniform=step >= self._focus_until)

    def score(self, indices: Tensor) -> ForwardPass:
        """Score examples by a forward pass, and count them."""
        self.count(len(indices))
        return self._evaluator.score(indices, features=self._features)

    def count(self, examples: int) -> None:
        """Count examples that went through the model."""
        self.examples_scored += examples

    def outputs_of(self, subset: Tensor) -> tuple[ForwardPass, list[ForwardPass]]:
        """Return what is known of a subset, and what of it was scored for that."""
        if self._memory is None or not self._remembered:
            scored = self.score(subset)
            return scored, [scored]
        unknown = self._memory.unknown(subset)
        if not len(unknown):
            return self._memory.recall(subset), []
        scored = self.score(unknown)
        if len(unknown) == len(subset):
            return scored, [scored]
        return joined(self._memory.recall(subset), scored), [scored]

    def weigh(self, coreset: MiniBatchCoreset) -> MiniBatchCoreset:
        """Weigh examples by one over their chance where asked for; the mean stays 1."""
        if self._rounds is None or not self._weights:
            return coreset
        return weighed(coreset, self._rounds.chance(coreset.indices))

    def remember(self, scored: ForwardPass) -> None:
        """Remember the outputs of examples that were scored, where that is asked for."""
        if self._memory is not None:
            self._memory.remember(scored.indices, scored.logits, scored.losses)

    def remember_step(self, indices: Tensor, outputs: Outputs | None) -> None:
        """Remember what a training step knew of its examples, where that is asked for.

        Raises
        ------
        OrderError
            If it is, and there are no outputs.
        """
        if self._memory is None:
            return
        if outputs is None:
            raise OrderError(
                "crest.outputs, crest.focus: what training computes of an example is remembered, "
                "but the step came without its logits; pass them: step(logits)"
            )
        self._memory.remember(indices, outputs.logits, outputs.losses)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        memory = None if self._memory is None else self._memory.state_dict()
        return {
            "memory": memory,
            "position": self.position(),
            "quality": self.quality.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a round."""
        if self._memory is not None:
            self._memory.load_state_dict(state["memory"])
        self.quality.load_state_dict(state["quality"])
        self.rewind(state["position"])

    def position(self) -> dict[str, Any]:
        """Return how far the round is drawn and how many were scored, for :meth:`rewind`."""
        rounds = None if self._rounds is None else self._rounds.state_dict()
        return {"rounds": rounds, "examples_scored": self.examples_scored}

    def rewind(self, position: dict[str, Any]) -> None:
        """Go back to where the round was."""
        if self._rounds is not None:
            self._rounds.load_state_dict(position["rounds"])
        self.examples_scored = position["examples_scored"]

    def _last_losses(self, indices: Tensor) -> Tensor:
        """Return the last loss of each example, NaN where none is known."""
        if self._memory is None:
            return torch.full((len(indices),), torch.nan)
        return self._memory.losses(indices)
