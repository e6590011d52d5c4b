"""Data sets that can be asked for the example at an index, of any library."""

from collections.abc import Sized
from typing import Any, Protocol

from torch.utils.data import IterableDataset

from crest.errors import ParameterError


class Examples(Protocol):
    """A map-style data set, of any library."""

    def __getitem__(self, index: int, /) -> Any: ...


def require_map_style(examples: Any, wrapper: str) -> None:
    """Refuse what cannot be asked for an example; ``wrapper`` is who asks.

    Raises
    ------
    ParameterError
        If it cannot.
    """
    if isinstance(examples, IterableDataset) or not hasattr(examples, "__getitem__"):
        raise ParameterError(
            f"{wrapper}: {type(examples).__name__} cannot be asked for the example at an index; "
            "give it a map-style data set"
        )


def length_of(examples: Any, wrapper: str) -> int:
    """Return how many examples there are.

    Raises
    ------
    ParameterError
        If the data set does not know.
    """
    if not isinstance(examples, Sized):
        raise ParameterError(f"{wrapper}: {type(examples).__name__} has no length")
    return len(examples)
