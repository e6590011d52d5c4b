"""Selecting mini-batch coresets from random subsets (paper, Eq. 11), as a method's keys say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import ForwardPass
from crest.models.head import last_layer_if_any
from crest.samplers.limits import require_room_for_distances
from crest.selection.choices import UNBIASED, Choice, find_choice
from crest.selection.choosing import choose_minibatch_coresets, select_minibatch_coresets
from crest.selection.coresets import MiniBatchCoreset
from crest.selection.gradients import GradientProxy, find_proxy


@dataclass(frozen=True)
class Selector:
    """Selects ``each`` mini-batch coresets of ``batch_size`` (m) examples from each subset."""

    evaluator: FoldingEvaluator
    proxy: GradientProxy
    choice: Choice
    batch_size: int
    generator: torch.Generator
    each: int = 1

    def select(
        self, subsets: Sequence[Tensor], region: int, observe: Callable[[ForwardPass], None]
    ) -> list[MiniBatchCoreset]:
        """Score subsets V_p and select from them, see :func:`select_minibatch_coresets`."""
        with self.evaluator.folded():
            return select_minibatch_coresets(
                self.evaluator,
                subsets,
                self.batch_size,
                self.proxy,
                self.choice,
                self.generator,
                region,
                observe,
                self.each,
            )

    def select_from(self, scored: ForwardPass) -> list[MiniBatchCoreset]:
        """Select from one subset whose outputs are known."""
        gradients = self.proxy(scored, last_layer_if_any(self.evaluator.model))
        return choose_minibatch_coresets(
            scored, gradients, 1, self.batch_size, self.choice, self.generator, self.each
        )


def selector_of(
    section: str,
    proxy: str,
    choice: str,
    evaluator: FoldingEvaluator,
    sizes: tuple[int, int],
    generator: torch.Generator,
    each: int = 1,
) -> Selector:
    """Return the selector that a method's ``section`` of the parameters asks for.

    ``sizes`` are m and r.

    Raises
    ------
    ParameterError
        If there is no such proxy or choice, or no room for the distances between r examples.
    """
    batch_size, subset_size = sizes
    if choice not in UNBIASED:
        device = evaluator.precision.device
        require_room_for_distances(f"{section}.subset_size", subset_size, device)
    smoothing = evaluator.label_smoothing
    found = find_proxy(proxy, f"{section}.proxy", smoothing=smoothing)
    chosen = find_choice(choice, f"{section}.choice")
    return Selector(evaluator, found, chosen, batch_size, generator, each)
