"""Examples that say which they are."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset

from crest.errors import ParameterError
from crest.samplers.map_style import Examples, length_of, require_map_style


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
        require_map_style(examples, "Indexed")
        self._examples = examples
        self._name = name

    def __len__(self) -> int:
        """Examples of the data set.

        Raises
        ------
        ParameterError
            If it does not know.
        """
        return length_of(self._examples, "Indexed")

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
