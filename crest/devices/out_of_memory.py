"""Work in pieces that fit into the GPU's memory: where a piece does not, it is halved.

Only what PyTorch documents as out of memory is taken for it, :class:`torch.OutOfMemoryError`. It
comes from accelerators alone: on the CPU the operating system ends the process instead, and
nothing here can help.
"""

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from crest.errors import DeviceMemoryError

ADVICE = "use a smaller model, smaller images or shorter text, or free the GPU of other work"

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Halving:
    """How many examples a piece of work holds, halved whenever they are too many for the GPU.

    A size once halved stays so for as long as the object is kept: keep one for all the work of a
    kind. A warning tells of each time it had to be lowered.

    Parameters
    ----------
    size
        Examples of a piece to begin with, at least 1.
    what
        The work, for messages, such as ``scoring examples``.
    setting
        From the size to how a parameter is set to it, such as ``evaluate.batch_size: 8``; None
        where no parameter sets it.
    advice
        What to do where a single example is too much.
    """

    def __init__(
        self,
        size: int,
        what: str,
        setting: Callable[[int], str] | None = None,
        advice: str = ADVICE,
    ) -> None:
        self._size = size
        self._what = what
        self._setting = setting
        self._advice = advice

    @property
    def size(self) -> int:
        """Examples of a piece, as far as is known now."""
        return self._size

    def run(self, work: Callable[[int], T], examples: int | None = None) -> T:
        """Return what ``work`` makes of a size, called anew with half of it until it fits.

        What a call that ran out of memory left behind is for ``work`` to undo when it begins, such
        as gradients, random states and BatchNorm's statistics.

        Parameters
        ----------
        work
            Called with the size; everything it allocates must be let go of when it raises.
        examples
            How many the work has in all; a size above that means as much.

        Raises
        ------
        DeviceMemoryError
            If a single example is too much.
        """
        before = size = min(self._size, examples or self._size)
        while True:
            try:
                result = work(size)
            except torch.OutOfMemoryError as error:
                reason = str(error)
            else:
                self._keep(before, size)
                return result
            # Not within the except clause, where the error still holds the tensors of its frames.
            self._free(size, reason)
            size //= 2

    def over(self, examples: Tensor, work: Callable[[Tensor], T]) -> list[T]:
        """Return what ``work`` makes of one piece of the examples after another, in their order.

        A piece that ran out of memory is done again in halves; those before it are kept.
        """
        results: list[T] = []
        start = 0
        while start < len(examples):
            left = examples[start:]
            taken, result = self.run(_of_first(left, work), len(left))
            results.append(result)
            start += taken
        return results

    def _free(self, size: int, reason: str) -> None:
        """Give back what the failed work held; raises where there is nothing left to halve."""
        if size <= 1:
            raise DeviceMemoryError(
                f"{self._what}: a single example does not fit into the GPU's memory "
                f"({reason.strip()}); {self._advice}"
            )
        gc.collect()  # tensors that only reference cycles hold
        torch.cuda.empty_cache()

    def _keep(self, before: int, size: int) -> None:
        """Remember a size that was lowered, and say so once, however often it was halved."""
        if size == before:
            return
        self._size = size
        advice = "" if self._setting is None else f"; {self._setting(size)} sets it from the start"
        logger.warning(
            "%s: %d examples at once do not fit into the GPU's memory; from here on %d%s",
            self._what,
            before,
            size,
            advice,
        )


def _of_first(examples: Tensor, work: Callable[[Tensor], T]) -> Callable[[int], tuple[int, T]]:
    """Return the work on the first so many of some examples; its answer begins with the size."""
    return lambda size: (size, work(examples[:size]))
