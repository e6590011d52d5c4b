"""Splits that are already in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from crest.data.origins import rows_of
from crest.data.sources import Example, Labels, Pixels


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """A split in memory: ``images`` uint8, N×H×W×C, ``targets`` int64, N."""

    name: str
    images: Pixels
    targets: Labels
    batch: int = 1000

    def __len__(self) -> int:
        return len(self.targets)

    def labels(self) -> pl.Series:
        """All labels."""
        return pl.Series("label", self.targets)

    def examples(self) -> Iterator[Sequence[Example]]:
        """Views of the images."""
        for start in range(0, len(self), self.batch):
            yield list(self.images[start : start + self.batch])

    def places(self) -> pl.DataFrame:
        """Name the split and the rows."""
        return rows_of([(self.name, len(self))])

    def label_at(self, row: int) -> str:
        """Name of the split and the row."""
        return self.example_at(row)

    def example_at(self, row: int) -> str:
        """Name of the split and the row."""
        return f"{self.name}, row {row} (counted from 0)"
