"""Focused: random mini-batches in which learned examples come less often.

What :class:`~crest.samplers.crest.Crest` with a focus is without coresets and regions: nothing is
scored, chosen or modelled, so that a step costs what Random's costs.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from crest.errors import OrderError
from crest.regions.active import ActiveSet
from crest.samplers.base import Context, Record
from crest.samplers.memory import Memory
from crest.samplers.random import check_fits
from crest.samplers.rounds import Focus, Rounds
from crest.selection.coresets import MiniBatchCoreset, Outputs, uniform

if TYPE_CHECKING:
    from crest.methods.focused import FocusedParameters


class Focused:
    """Yields mini-batches of exactly m, drawn without replacement in rounds, every weight 1.

    Every class has of each mini-batch the share that it has of the round, unless ``draw`` says
    otherwise.

    An example takes part in a round with a chance that its last loss in training sets, as
    :class:`~crest.samplers.rounds.Focus` says; in rounds that begin after ``focus.until`` of the
    steps, all take part.

    Raises
    ------
    ParameterError
        If the mini-batch is larger than the training set.
    """

    def __init__(self, context: "Context[FocusedParameters]") -> None:
        labels, parameters = context.train.labels, context.parameters
        check_fits(context.batch_size, len(labels))
        self._size = context.batch_size
        self._generator = context.generator
        self._memory = Memory(labels, context.precision.device, may_skip=context.may_skip)
        self._rounds = Rounds(
            ActiveSet(len(labels)),
            self._memory.losses,
            Focus.of(parameters.focus),
            context.generator,
            remembered=False,
            strata=labels if parameters.draw == "stratified_without_replacement" else None,
        )
        self._until = round(parameters.focus.until * context.steps)

    def minibatch(self, step: int) -> MiniBatchCoreset:
        """Take the next m examples of the round."""
        return uniform(self._rounds.take(self._size, uniform=step >= self._until))

    def upcoming(self) -> Tensor | None:
        """Return the next m examples; None where another round begins."""
        return self._rounds.peek(self._size)

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        """Remember the losses of the step.

        Raises
        ------
        OrderError
            If its loop did not give the logits.
        """
        if outputs is None:
            raise OrderError(
                "focused: the losses of training are remembered, but the step came without its "
                "logits; pass them: step(logits)"
            )
        self._memory.remember(minibatch.indices, outputs.logits, outputs.losses)

    def state_dict(self) -> dict[str, Any]:
        """Return the last losses, what is left of the round, and the generator."""
        return {
            "memory": self._memory.state_dict(),
            "rounds": self._rounds.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a round."""
        self._memory.load_state_dict(state["memory"])
        self._rounds.load_state_dict(state["rounds"])
        self._generator.set_state(state["generator"])

    def record(self) -> Record:
        """Keep nothing."""
        return Record()
