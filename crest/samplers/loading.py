"""Saved coresets through a DataLoader: each example travels with its weight."""

import warnings
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler

from crest.errors import ParameterError
from crest.samplers.map_style import Examples, length_of, require_map_style
from crest.samplers.saved import SavedCoresets


class CoresetBatchSampler(Sampler[list[tuple[int, float]]]):
    """Mini-batches as lists of (index, weight), for the ``batch_sampler`` of a DataLoader.

    The data set is wrapped in :class:`Weighted`, which returns the weight beside the example, so
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
        If ``steps`` or ``seed`` is no whole number, or ``steps`` below 1.
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


class Weighted(Dataset[Any]):
    """A map-style data set whose items carry the weights that :class:`CoresetBatchSampler` gives.

    An item that is a tuple gains the weight as its last part, one that is a mapping gains it by
    name; any other becomes a pair. The weight is a float32 scalar, so that the default collation
    makes a tensor of m weights.

    Parameters
    ----------
    examples
        The data set that the coresets' indices point into.
    name
        Of the weight in a mapping. None for ``weight``, or ``weight_`` where the item has a
        ``weight`` of its own, of which a warning tells.

    Raises
    ------
    ParameterError
        If the data set cannot be asked for an example.
    """

    def __init__(self, examples: Examples, name: str | None = None) -> None:
        require_map_style(examples, "Weighted")
        self._examples = examples
        self._name = name

    def __len__(self) -> int:
        """Examples of the data set.

        Raises
        ------
        ParameterError
            If it does not know.
        """
        return length_of(self._examples, "Weighted")

    def __getitem__(self, item: tuple[int, float]) -> Any:
        """Return the example at an index with its weight.

        Raises
        ------
        ParameterError
            If it is asked for by an index alone, or by one that the data set does not have, or if
            the item has a field of the weight's name.
        """
        if not isinstance(item, tuple):
            raise ParameterError(
                f"Weighted: asked for example {item!r} without a weight; give the DataLoader a "
                "CoresetBatchSampler as its batch_sampler"
            )
        index, number = item
        if isinstance(self._examples, Sized) and index >= (count := len(self._examples)):
            raise ParameterError(
                f"Weighted: there is no example {index} among {count}; were the coresets chosen "
                "from other data?"
            )
        example, weight = self._examples[index], torch.tensor(number, device="cpu")
        if isinstance(example, Mapping):
            return {**example, self._name_in(example): weight}
        return (*example, weight) if isinstance(example, tuple) else (example, weight)

    def _name_in(self, example: Mapping[Any, Any]) -> str:
        """Return the weight's name in an item, which has none of that name."""
        if self._name is not None:
            if self._name in example:
                raise ParameterError(
                    f"Weighted: the items have a field '{self._name}' of their own; give the "
                    "weight another name"
                )
            return self._name
        name = "weight"
        while name in example:
            name += "_"
        if name != "weight":
            warnings.warn(
                f"Weighted: the items have a 'weight' of their own; the coreset's is '{name}', or "
                "what you name it: Weighted(examples, name=...)",
                stacklevel=2,
            )
        return name
