"""Rows that say which they are, on the way through a trainer's own collator."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler

from crest.errors import OrderError, ParameterError
from crest.integrations.token_losses import learned
from crest.samplers.loss_batches import LossBatchSampler

INDEX = "crest_index"  # of the indices in a batch
LENGTHS = "crest_lengths"  # of the tokens of each row


class Rows(Dataset[tuple[int, Any]]):
    """Pairs of index and example, asked for together where the data set can be."""

    def __init__(self, examples: Any) -> None:
        self._examples = examples

    def __len__(self) -> int:
        """Examples of the data set."""
        return len(self._examples)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        """Return an example with its index."""
        return index, self._examples[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[int, Any]]:
        """Return the examples of a batch with their indices."""
        together = getattr(self._examples, "__getitems__", None)
        if together is None:
            return [self[index] for index in indices]
        return list(zip(indices, together(indices), strict=True))


class Collate:
    """Puts the indices, and how many tokens each row has, beside what a collator makes of rows.

    ``causal``: whether the first label of a row is of nothing.
    """

    def __init__(self, collator: Callable[[list[Any]], Any], causal: bool = False) -> None:
        self._collator = collator
        self._causal = causal

    def __call__(self, rows: Sequence[tuple[int, Any]]) -> Any:
        """Return the batch of a list of pairs of index and example.

        Raises
        ------
        ParameterError
            If the collator returns no dictionary.
        OrderError
            If a batch that was trained on before is to be trained on again.
        """
        if not rows:
            raise OrderError("LossSampled: a batch that is to be skipped on resuming was not")
        batch = self._collator([example for _, example in rows])
        if not isinstance(batch, MutableMapping):
            raise ParameterError(
                f"LossSampled: the collator returns a {type(batch).__name__}; let it return a "
                "dictionary"
            )
        if self._causal and "labels" in batch:
            batch["labels"] = learned(batch["labels"])
        batch[INDEX] = torch.tensor([index for index, _ in rows])
        if all(isinstance(row, Mapping) and "input_ids" in row for _, row in rows):
            batch[LENGTHS] = torch.tensor([len(row["input_ids"]) for _, row in rows])
        return batch


class Batches(Sampler[list[int]]):
    """A sampler's batches; at the first time as many empty ones before, for those who skip them.

    A Trainer that resumes skips the batches of the epoch which it had trained on; the sampler has
    left them behind.
    """

    def __init__(self, sampler: LossBatchSampler, skipped: int) -> None:
        self._sampler = sampler
        self._skipped = skipped

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._sampler)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's part of each batch."""
        skipped, self._skipped = self._skipped, 0
        for _ in range(skipped):
            yield []
        yield from self._sampler
