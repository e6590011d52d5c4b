"""Saved coresets through a DataLoader: each example travels with its weight."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset, Sampler

from crest.errors import ParameterError
from crest.selection.saved import SavedCoresets


class CoresetBatchSampler(Sampler[list[tuple[int, float]]]):
    """Mini-batches as lists of (index, weight), for the ``batch_sampler`` of a DataLoader.

    The data set is wrapped in :class:`Weighted`, which hands the weight on beside the example, so
    that worker processes and prefetching cannot part them. One pass is a whole run, the same in
    every pass.

    Parameters
    ----------
    saved
        What :func:`crest.read_coresets` returned.
    steps, seed
        As of :meth:`SavedCoresets.minibatches`.

    Raises
    ------
    ParameterError
        If ``steps`` is below 1.
    """

    def __init__(self, saved: SavedCoresets, steps: int | None = None, seed: int = 0) -> None:
        saved.minibatches(steps, seed)  # refuses what cannot be
        self._saved = saved
        self._steps = steps
        self._seed = seed

    def __len__(self) -> int:
        """Mini-batches of a pass."""
        return self._saved.steps if self._steps is None else self._steps

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        """Yield the mini-batches of a run."""
        for indices, weights in self._saved.minibatches(self._steps, self._seed):
            yield list(zip(indices.tolist(), weights.tolist(), strict=True))


class Examples(Protocol):
    """A map-style data set, of any library."""

    def __getitem__(self, index: int, /) -> Any: ...


class Weighted(Dataset[Any]):
    """A map-style data set whose items carry the weights that :class:`CoresetBatchSampler` gives.

    An item that is a tuple gains the weight as its last part, one that is a mapping gains it as
    ``weight``; any other becomes a pair. The weight is a float32 scalar, so that the default
    collation makes a tensor of m weights.

    Parameters
    ----------
    examples
        The data set that the coresets' indices point into.
    """

    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    def __len__(self) -> int:
        """Examples of the data set."""
        assert isinstance(self._examples, Sized)
        return len(self._examples)

    def __getitem__(self, item: tuple[int, float]) -> Any:
        """Return the example at an index with its weight.

        Raises
        ------
        ParameterError
            If it is asked for by an index alone.
        """
        if not isinstance(item, tuple):
            raise ParameterError(
                f"Weighted: asked for example {item!r} without a weight; give the DataLoader a "
                "CoresetBatchSampler as its batch_sampler"
            )
        index, number = item
        example, weight = self._examples[index], torch.tensor(number)
        if isinstance(example, Mapping):
            return {**example, "weight": weight}
        return (*example, weight) if isinstance(example, tuple) else (example, weight)
