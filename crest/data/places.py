"""Where the rows of a source lie, as prepared data keep it for :mod:`crest.data.origins`."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from crest.data.origins import SCHEMA, sources_file
from crest.data.sources import Source, Split
from crest.data.splits import Division


@runtime_checkable
class Placed(Protocol):
    """A split whose rows have places: a frame of ``file`` and ``row``, in order."""

    def places(self) -> pl.DataFrame:
        """Return the file of each row, and its row in it if it holds several."""
        ...


def write_sources(source: Source[Split], division: Division, folder: Path) -> None:
    """Write the sources of the splits whose readers know them."""
    for name, parts in division.parts.items():
        reader = source.splits[name]
        if not isinstance(reader, Placed):
            continue
        places = reader.places().cast(SCHEMA)
        for part, rows in parts.items():
            chosen = places[np.flatnonzero(rows)]
            chosen.write_parquet(sources_file(folder, part), compression="zstd")
