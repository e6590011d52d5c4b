"""Where the mini-batch coresets of a region come from: selected ahead, or on demand."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from crest.devices.generators import copy_of
from crest.devices.limits import require_memory
from crest.inference.forward import ForwardPass
from crest.regions.interval import whole_subsets
from crest.regions.region import Region
from crest.samplers.crest.subsets import Subsets
from crest.samplers.selector import Selector
from crest.selection.coresets import MiniBatchCoreset


@dataclass(frozen=True)
class Selection:
    """Mini-batch coresets, and the forward passes without features they were selected by.

    ``checked`` counts the examples of the first pass if that is the last check's, else 0.
    """

    coresets: list[MiniBatchCoreset]
    passes: list[ForwardPass]
    checked: int = 0


class Supply(Protocol):
    """Supplies the coresets of one region after another."""

    def interval(self, interval: int, left: int) -> int:
        """Return T1 as it suits the supply, with ``left`` steps of training to go."""
        ...

    def select(self, region: int, count: int, needed: int, step: int) -> Selection:
        """Select the coresets that a region opens with.

        ``count`` is P; ``needed`` are those that g and h are estimated on, 0 if they are not.
        """
        ...

    def next(self, region: Region, step: int) -> MiniBatchCoreset:
        """Return the coreset to train on in this step."""
        ...

    def upcoming(self, region: Region) -> Tensor | None:
        """Return the indices of the next coreset, int64; None where it is not selected yet."""
        ...

    def check(self, scored: ForwardPass) -> None:
        """Take note of a check's V_r, of which this is the forward pass."""
        ...

    def position(self) -> dict[str, Any]:
        """Return where the supply is, for :meth:`rewind`; what is in it is not changed later."""
        ...

    def rewind(self, position: dict[str, Any]) -> None:
        """Go back there, as if nothing had been selected since."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        ...


class Ahead:
    """Selects all P when the region opens; each step draws one of them (Algorithm 1).

    ``pause`` is called after every few subsets; what it raises ends the selection.
    """

    def __init__(
        self, subsets: Subsets, selector: Selector, size: int, pause: Callable[[], None]
    ) -> None:
        self._subsets = subsets
        self._selector = selector
        self._size = size
        self._pause = pause

    def interval(self, interval: int, left: int) -> int:
        """Return T1 as it is."""
        return interval

    def select(self, region: int, count: int, needed: int, step: int) -> Selection:
        """Select P coresets S_p from random subsets V_p, as many of each as asked for (Eq. 11)."""
        each = self._selector.each
        of_each = 24 * self._selector.batch_size + 32 * self._size // each
        what = f"the {count} mini-batches of a region"
        require_memory("crest.minibatch_factor", count * of_each, what)
        subsets = [self._subsets.take(step) for _ in range(math.ceil(count / each))]
        passes: list[ForwardPass] = []

        def observe(scored: ForwardPass) -> None:
            self._pause()
            passes.append(scored.without_features())

        coresets = self._selector.select(subsets, region, observe)
        self._subsets.count(len(subsets) * self._size)
        return Selection([self._subsets.weigh(coreset) for coreset in coresets[:count]], passes)

    def next(self, region: Region, step: int) -> MiniBatchCoreset:
        """Draw one of the P."""
        return _drawn(region, self._selector.generator)

    def upcoming(self, region: Region) -> Tensor | None:
        """Return the one that will be drawn."""
        return _drawn(region, copy_of(self._selector.generator)).indices

    def check(self, scored: ForwardPass) -> None:
        """Select nothing from it: V_p are drawn anew."""

    def position(self) -> dict[str, Any]:
        """Return where the round of subsets is."""
        return self._subsets.position()

    def rewind(self, position: dict[str, Any]) -> None:
        """Go back there."""
        self._subsets.rewind(position)

    def state_dict(self) -> dict[str, Any]:
        """Return what the subsets keep."""
        return {"subsets": self._subsets.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self._subsets.load_state_dict(state["subsets"])


class OnDemand:
    """Selects from one subset after another, when a step needs a coreset that none has used.

    Unless subsets are drawn without replacement, the last check's V_r is the next V_p: its forward
    pass is then not taken twice.

    Parameters
    ----------
    observe
        Called with what was selected after a region has opened.
    """

    def __init__(
        self, subsets: Subsets, selector: Selector, observe: Callable[[Selection, int], Tensor]
    ) -> None:
        self._subsets = subsets
        self._selector = selector
        self._observe = observe
        self._unselected: ForwardPass | None = None  # of the last check, not selected from yet

    def interval(self, interval: int, left: int) -> int:
        """Return T1 as a whole number of subsets."""
        return whole_subsets(interval, self._selector.each, left)

    def select(self, region: int, count: int, needed: int, step: int) -> Selection:
        """Select from as many subsets as g and h need, at least one."""
        first = self._select_one(region, 0, step)
        coresets, passes = first.coresets, first.passes
        while len(coresets) < needed:
            more = self._select_one(region, len(coresets), step)
            coresets, passes = coresets + more.coresets, passes + more.passes
        return replace(first, coresets=coresets, passes=passes)

    def next(self, region: Region, step: int) -> MiniBatchCoreset:
        """Return the next coreset that no step has trained on; select where there is none."""
        if region.used == len(region.coresets):
            started = time.perf_counter()
            more = self._select_one(region.number, len(region.coresets), step)
            region.spend("select", time.perf_counter() - started)
            self._observe(more, step)
            region.coresets += more.coresets
        region.used += 1
        return region.coresets[region.used - 1]

    def upcoming(self, region: Region) -> Tensor | None:
        """Return the next that was selected and not trained on."""
        left = region.coresets[region.used :]
        return left[0].indices if left else None

    def check(self, scored: ForwardPass) -> None:
        """Keep a check's forward pass to select from."""
        if not self._subsets.without_replacement:
            self._unselected = scored

    def position(self) -> dict[str, Any]:
        """Return where the round of subsets is, and what of a check is not selected from."""
        return {"subsets": self._subsets.position(), "unselected": self._unselected}

    def rewind(self, position: dict[str, Any]) -> None:
        """Go back there."""
        self._subsets.rewind(position["subsets"])
        self._unselected = position["unselected"]

    def state_dict(self) -> dict[str, Any]:
        """Return what the subsets keep, and what of a check is not selected from."""
        unselected = self._unselected
        return {
            "subsets": self._subsets.state_dict(),
            "unselected": None if unselected is None else unselected.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self._subsets.load_state_dict(state["subsets"])
        unselected, device = state["unselected"], self._selector.evaluator.precision.device
        self._unselected = None if unselected is None else ForwardPass(**unselected).to(device)

    def _select_one(self, region: int, first: int, step: int) -> Selection:
        """Select from one subset: the last check's, if nothing was selected from it yet."""
        scored, self._unselected = self._unselected, None
        checked = 0 if scored is None else len(scored.indices)
        passes = [scored] if scored is not None else []
        if scored is None:
            scored, passes = self._subsets.outputs_of(self._subsets.take(step))
        coresets = [
            replace(self._subsets.weigh(coreset), region=region, number=first + place)
            for place, coreset in enumerate(self._selector.select_from(scored))
        ]
        return Selection(coresets, [known.without_features() for known in passes], checked)


def _drawn(region: Region, generator: torch.Generator) -> MiniBatchCoreset:
    """Draw one of a region's coresets."""
    return region.coresets[int(torch.randint(len(region.coresets), (1,), generator=generator))]
