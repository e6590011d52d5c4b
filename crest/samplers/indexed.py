"""Examples that say which they are."""

from collections.abc import Mapping, Sized
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from crest.errors import ParameterError
from crest.samplers.loading import Examples


class Indexed(Dataset[Any]):
    """A map-style data set whose items begin with their index, for LossBatchSampler.update.

    An item that is a tuple gains the index as its first part, one that is a mapping gains it by
    name; any other becomes a pair.

    Parameters
    ----------
    examples
        The data set.
    name
        Of the index in a mapping.

    Raises
    ------
    ParameterError
        If the data set cannot be asked for an example.
    """

    def __init__(self, examples: Examples, name: str = "index") -> None:
        if isinstance(examples, IterableDataset) or not hasattr(examples, "__getitem__"):
            raise ParameterError(
                f"Indexed: {type(examples).__name__} cannot be asked for the example at an index; "
                "give it a map-style data set"
            )
        self._examples = examples
        self._name = name

    def __len__(self) -> int:
        """Examples of the data set.

        Raises
        ------
        ParameterError
            If it does not know.
        """
        if not isinstance(self._examples, Sized):
            raise ParameterError(f"Indexed: {type(self._examples).__name__} has no length")
        return len(self._examples)

    def __getitem__(self, index: int) -> Any:
        """Return the example at an index, with the index.

        Raises
        ------
        ParameterError
            If the item has a field of the index's name.
        """
        example = self._examples[index]
        if isinstance(example, Mapping):
            if self._name in example:
                raise ParameterError(
                    f"Indexed: the items have a field '{self._name}' of their own; give the index "
                    "another name: Indexed(examples, name=...)"
                )
            return {self._name: index, **example}
        return (index, *example) if isinstance(example, tuple) else (index, example)
