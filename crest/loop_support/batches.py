"""Mini-batches that are chosen a fixed number of steps ahead, for the workers of a DataLoader."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch.utils.data import Sampler

from crest.errors import OrderError, ParameterError
from crest.selection.coresets import MiniBatchCoreset

# Batches beyond the lag that are drawn with no report: more than any loader holds.
FORGOTTEN = 512

WeightedBatch = list[tuple[int, float]]


class Queue:
    """The mini-batches that were chosen and whose steps were not reported yet, in order.

    Parameters
    ----------
    choose
        Returns the mini-batch of a step, by the model as it is; called once for each, in order.
    steps
        In all.
    lag
        That of step k is chosen once step k − ``lag`` was reported.

    Attributes
    ----------
    reported, drawn
        Steps whose report was made, and whose mini-batch the loop or its loader has.
    """

    def __init__(self, choose: Callable[[int], MiniBatchCoreset], steps: int, lag: int) -> None:
        self._choose = choose
        self._steps = steps
        self._lag = lag
        self._chosen: deque[MiniBatchCoreset] = deque()
        self.reported = self.drawn = 0

    @property
    def due(self) -> MiniBatchCoreset | None:
        """The first mini-batch that was drawn and not reported; None where all were."""
        return self._chosen[0] if self.drawn > self.reported else None

    def fill(self) -> None:
        """Choose what the next reports do not count for."""
        self._choose_until(self.reported + self._lag)

    def draw(self) -> MiniBatchCoreset | None:
        """Return the mini-batch of the next step, None after the last.

        One beyond the lag is chosen all the same: how many a loader draws is known once it is
        done, and then :meth:`require_lag` says so.

        Raises
        ------
        OrderError
            If no step is reported.
        """
        if self.drawn - self.reported >= self._lag + FORGOTTEN:
            raise self._forgotten()
        if self.drawn == self._steps:
            if self.drawn - self.reported > self._lag:
                raise self._forgotten()
            return None
        self.fill()
        self._choose_until(self.drawn + 1)
        self.drawn += 1
        return self._chosen[self.drawn - 1 - self.reported]

    def require_lag(self) -> None:
        """Refuse a lag that the loader outruns: for other workers, batches would be others.

        Raises
        ------
        ParameterError
            If more were drawn than it allows; the message names the lag that is enough.
        """
        if (ahead := self.drawn - self.reported) > self._lag:
            raise ParameterError(
                f"lag: {self._lag} is too small: {ahead} batches were drawn before step "
                f"{self.reported} was reported, as num_workers and prefetch_factor of the loader "
                f"have it; use Coresets(..., lag={ahead}) or more"
            )

    def report(self) -> None:
        """Take note that the step on the mini-batch that was due was taken."""
        self._chosen.popleft()
        self.reported += 1

    def rewind(self) -> None:
        """Let what was drawn and not reported come again."""
        self.drawn = self.reported

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what was chosen and not reported."""
        return [dict(vars(minibatch)) for minibatch in self._chosen]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]], reported: int) -> None:
        """Take over a saved state, of after so many steps."""
        self._chosen = deque(MiniBatchCoreset(**minibatch) for minibatch in state)
        self.reported = self.drawn = reported

    def _choose_until(self, end: int) -> None:
        while (step := self.reported + len(self._chosen)) < min(end, self._steps):
            self._chosen.append(self._choose(step))

    def _forgotten(self) -> OrderError:
        return OrderError(
            f"next batch: {self.drawn - self.reported} batches were drawn and step "
            f"{self.reported} was not reported; call step() of the coresets after each step of "
            "the optimiser"
        )


class ChosenBatches(Sampler[WeightedBatch]):
    """What :meth:`crest.Coresets.batch_sampler` returns: lists of (index, weight).

    Parameters
    ----------
    begin
        Begins an iteration with the first mini-batch that was not reported.
    steps
        In all.
    """

    def __init__(self, begin: Callable[[], Iterator[WeightedBatch]], steps: int) -> None:
        self._begin = begin
        self._steps = steps

    def __len__(self) -> int:
        """Mini-batches in all."""
        return self._steps

    def __iter__(self) -> Iterator[WeightedBatch]:
        """Yield each mini-batch that is left; see :meth:`crest.Coresets.batch_sampler`."""
        return self._begin()


class Iteration(Iterator[WeightedBatch]):
    """One iteration; its state is for loaders that keep it, as torchdata's StatefulDataLoader.

    Parameters
    ----------
    draw
        Returns the next mini-batch of this iteration, None after the last.
    drawn
        Mini-batches before the first.
    """

    def __init__(self, draw: Callable[["Iteration"], MiniBatchCoreset | None], drawn: int) -> None:
        self._draw = draw
        self.drawn = drawn

    def __next__(self) -> WeightedBatch:
        """Return the next mini-batch."""
        minibatch = self._draw(self)
        if minibatch is None:
            raise StopIteration
        self.drawn += 1
        return list(zip(minibatch.indices.tolist(), minibatch.weights.tolist(), strict=True))

    def state_dict(self) -> dict[str, int]:
        """Return how many mini-batches were drawn."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on after so many."""
        self.drawn = state["drawn"]
