"""Saved coresets: the table of a run as mini-batches again, checked against the data."""

from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from crest.errors import ArtifactError
from crest.selection.coresets import MiniBatchCoreset

AGAIN = "select them again, by training with the method they come from"


@dataclass(frozen=True)
class SavedCoresets:
    """The mini-batch coresets of a run, region by region.

    ``regions`` holds each region's mini-batches in their order; ``sequence`` the (region,
    mini-batch) of each training step of the run, where it was saved.
    """

    regions: tuple[tuple[MiniBatchCoreset, ...], ...]
    sequence: tuple[tuple[int, int], ...] | None = None


def from_tables(
    coresets: pl.DataFrame, steps: pl.DataFrame | None, labels: Tensor, where: str
) -> SavedCoresets:
    """Turn the tables of a run into mini-batches.

    Parameters
    ----------
    coresets, steps
        The 'coresets' table and, where there is one, the 'steps' table of the same run.
    labels
        int64, n: the labels of the training set they are to be used with.
    where
        Names the coresets in errors.

    Raises
    ------
    ArtifactError
        If the table is empty, or does not belong to these data, or has broken rows.
    """
    if coresets.is_empty():
        raise ArtifactError(f"{where}: holds no mini-batch; {AGAIN}")
    _check_rows(coresets, labels, where)
    groups = coresets.sort("region", "minibatch", "position").partition_by(
        "region", "minibatch", maintain_order=True
    )
    regions: dict[int, list[MiniBatchCoreset]] = {}
    for group in groups:
        coreset = _minibatch(group)
        regions.setdefault(coreset.region, []).append(coreset)
    _check_numbers(regions, where)
    sequence = None if steps is None else _sequence(steps, regions, where)
    return SavedCoresets(tuple(tuple(region) for region in regions.values()), sequence)


def _minibatch(group: pl.DataFrame) -> MiniBatchCoreset:
    return MiniBatchCoreset(
        indices=torch.tensor(group["index"].to_numpy()),
        weights=torch.tensor(group["weight"].to_numpy()),
        losses=torch.tensor(group["loss"].to_numpy()),
        region=group["region"][0],
        number=group["minibatch"][0],
    )


def _check_rows(coresets: pl.DataFrame, labels: Tensor, where: str) -> None:
    """Find the first row that cannot be trained on."""
    examples = len(labels)
    rows = coresets.with_row_index("row")
    needed = ("region", "minibatch", "position", "index", "label", "weight")
    _refuse(
        rows,
        pl.any_horizontal(pl.col(needed).is_null()),
        f"{where}: row {{row}} has a null; {AGAIN}",
    )
    outside = ~pl.col("index").is_between(0, examples - 1)
    message = f"{where}: row {{row}}: index {{index}} is outside the {examples} training examples"
    _refuse(rows, outside, f"{message}; were these coresets chosen from other data?")
    unusable = ~pl.col("weight").is_finite() | (pl.col("weight") < 0)
    message = f"{where}: row {{row}}: weight {{weight}} is not a number from 0 up; {AGAIN}"
    _refuse(rows, unusable, message)
    idle = (pl.col("weight").max() == 0).over("region", "minibatch")
    message = f"{where}: row {{row}}: every weight of its mini-batch is 0; {AGAIN}"
    _refuse(rows, idle, message)
    actual = pl.Series("actual", labels[torch.tensor(coresets["index"].to_numpy())].numpy())
    message = f"{where}: row {{row}}: example {{index}} has label {{label}}, prepared data has"
    _refuse(
        rows.with_columns(actual),
        pl.col("label") != pl.col("actual"),
        f"{message} {{actual}}; these coresets were chosen from other data",
    )


def _refuse(rows: pl.DataFrame, fault: pl.Expr, message: str) -> None:
    faulty = rows.filter(fault).head(1)
    if len(faulty):
        raise ArtifactError(message.format(**faulty.row(0, named=True)))


def _check_numbers(regions: dict[int, list[MiniBatchCoreset]], where: str) -> None:
    """Regions and their mini-batches count from 0 without gaps."""
    for expected, (number, coresets) in enumerate(regions.items()):
        if number != expected:
            raise ArtifactError(f"{where}: region {expected} is missing; {AGAIN}")
        for place, coreset in enumerate(coresets):
            if coreset.number != place:
                raise ArtifactError(
                    f"{where}: mini-batch {place} of region {number} is missing; {AGAIN}"
                )


def _sequence(
    steps: pl.DataFrame, regions: dict[int, list[MiniBatchCoreset]], where: str
) -> tuple[tuple[int, int], ...]:
    sequence = tuple(steps.select("region", "minibatch").iter_rows())
    for step, (region, number) in enumerate(sequence):
        if region not in regions or not 0 <= number < len(regions[region]):
            raise ArtifactError(
                f"{where}: step {step} was trained on mini-batch {number} of region {region}, "
                f"which is not in the coresets; {AGAIN}"
            )
    return sequence
