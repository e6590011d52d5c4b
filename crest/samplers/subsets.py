"""Random subsets V_p: which examples they hold, and what is known of these without a look."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from crest.errors import OrderError
from crest.inference.forward import Look, joined
from crest.parameters.sections import CrestParameters
from crest.regions.active import ActiveSet
from crest.samplers.memory import Memory
from crest.samplers.rounds import Focus, Rounds, weighed
from crest.selection.coresets import MiniBatchCoreset, Outputs


class Subsets:
    """Draws subsets as crest.draw and crest.focus say, and knows of them what crest.looks says.

    Parameters
    ----------
    active
        V.
    labels, classes
        int64, n, and how many there are.
    draw
        Draws a uniform random subset of r.
    size
        r.
    generator
        On the CPU; shared with the method, which saves it.
    may_skip
        As of :class:`~crest.samplers.memory.Memory`.
    """

    def __init__(
        self,
        active: ActiveSet,
        labels: Tensor,
        classes: int,
        parameters: CrestParameters,
        draw: Callable[[], Tensor],
        size: int,
        generator: torch.Generator,
        device: torch.device,
        may_skip: bool = False,
    ) -> None:
        focus = Focus.of(parameters)
        self._remembered = parameters.looks == "remembered"
        self._weights = parameters.focus_weights
        self._draw = draw
        self._size = size
        self._memory: Memory | None = None
        self._rounds: Rounds | None = None
        if self._remembered or parameters.focus > 0.0:
            kept = classes if self._remembered else 0
            self._memory = Memory(labels, device, kept, may_skip)
        if parameters.draw in ("rounds", "stratified_rounds"):
            strata = labels if parameters.draw == "stratified_rounds" else None
            self._rounds = Rounds(
                active, self._last_losses, focus, generator, self._weights, strata
            )
        self.in_rounds = self._rounds is not None
        # Whether what is looked at when a region opens has the losses of all of V.
        self.looks_are_of_all = not self.in_rounds or self._memory is None

    def take(self, alike: bool = False) -> Tensor:
        """Return the next V_p; int64, r, all different. ``alike`` ends the focus of rounds."""
        return self._draw() if self._rounds is None else self._rounds.take(self._size, alike)

    def show(self, subset: Tensor, look_at: Callable[[Tensor], Look]) -> tuple[Look, list[Look]]:
        """Return what is known of a subset, and what of it was looked at for that."""
        if self._memory is None or not self._remembered:
            shown = look_at(subset)
            return shown, [shown]
        unknown = self._memory.unknown(subset)
        if not len(unknown):
            return self._memory.recall(subset), []
        shown = look_at(unknown)
        if len(unknown) == len(subset):
            return shown, [shown]
        return joined(self._memory.recall(subset), shown), [shown]

    def weigh(self, coreset: MiniBatchCoreset) -> MiniBatchCoreset:
        """Weigh examples by one over their chance where asked for; the mean stays 1."""
        if self._rounds is None or not self._weights:
            return coreset
        return weighed(coreset, self._rounds.chance(coreset.indices))

    def remember(self, shown: Look) -> None:
        """Remember what a look showed, where that is asked for."""
        if self._memory is not None:
            self._memory.remember(shown.indices, shown.logits, shown.losses)

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
                "crest.looks, crest.focus: what training sees of an example is remembered, but the "
                "step came without its logits; hand them over: step(logits)"
            )
        self._memory.remember(indices, outputs.logits, outputs.losses)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        memory = None if self._memory is None else self._memory.state_dict()
        return {"memory": memory, "rounds": self.dealt()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a round."""
        if self._memory is not None:
            self._memory.load_state_dict(state["memory"])
        self.deal_from(state["rounds"])

    def dealt(self) -> dict[str, Any] | None:
        """Return how far the round is dealt, to go back there by :meth:`deal_from`."""
        return None if self._rounds is None else self._rounds.state_dict()

    def deal_from(self, dealt: dict[str, Any] | None) -> None:
        """Go back to where a round was."""
        if self._rounds is not None and dealt is not None:
            self._rounds.load_state_dict(dealt)

    def _last_losses(self, indices: Tensor) -> Tensor:
        """Return the last loss of each example, NaN where none is known."""
        if self._memory is None:
            return torch.full((len(indices),), torch.nan)
        return self._memory.losses(indices)
