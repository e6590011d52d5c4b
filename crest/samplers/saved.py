"""Saved coresets: the table of a run as mini-batches again, checked against the data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from crest import artifacts
from crest.data.given import integers, whole_number
from crest.devices.generators import generator_for
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

    @property
    def steps(self) -> int:
        """Training steps of the run; where they were not saved, the number of mini-batches."""
        if self.sequence is not None:
            return len(self.sequence)
        return sum(len(region) for region in self.regions)

    def all_of_size(self, size: int) -> bool:
        """Whether every mini-batch is of so many examples."""
        return all(len(coreset.indices) == size for region in self.regions for coreset in region)

    def minibatch(self, step: int, steps: int, generator: torch.Generator) -> MiniBatchCoreset:
        """Return the mini-batch of step t of N.

        It is of the region of step ⌊t·N'/N⌋ of the N' saved steps, so that regions are stretched or
        shortened in proportion. With N = N' it is the very mini-batch of that step, otherwise one
        of the region's drawn at random. Without saved steps all regions last equally long.

        Parameters
        ----------
        generator
            On the CPU.
        """
        if self.sequence is not None and len(self.sequence) == steps:
            region, number = self.sequence[step]
            return self.regions[region][number]
        coresets = self.region_of(step, steps)
        return coresets[int(torch.randint(len(coresets), (1,), generator=generator, device="cpu"))]

    def region_of(self, step: int, steps: int) -> tuple[MiniBatchCoreset, ...]:
        """Return the mini-batches of the region of step t of N, by the rule of minibatch."""
        if self.sequence is None:
            return self.regions[step * len(self.regions) // steps]
        return self.regions[self.sequence[step * len(self.sequence) // steps][0]]

    def minibatches(
        self, steps: int | None = None, seed: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return (indices, weights) for each step of a run, region by region.

        ``indices`` are int64 and ``weights`` float32 (mean 1), both of length m and on the CPU.

        Parameters
        ----------
        steps
            Steps of the run, by the rule of :meth:`minibatch`. None for those of the saved run;
            where they were not saved, every mini-batch once, in order.
        seed
            Draws the mini-batches where the rule draws them: those that `cli.py reuse` takes under
            the same train.seed.

        Raises
        ------
        ParameterError
            If ``steps`` or ``seed`` is no whole number, or ``steps`` below 1.
        """
        count = None if steps is None else whole_number(steps, "steps", 1)
        run = self._run(count, generator_for(whole_number(seed, "seed", 0), "method"))
        return ((coreset.indices.clone(), coreset.weights.clone()) for coreset in run)

    def _run(self, steps: int | None, generator: torch.Generator) -> Iterator[MiniBatchCoreset]:
        if steps is None and self.sequence is None:
            return (coreset for region in self.regions for coreset in region)
        count = self.steps if steps is None else steps
        return (self.minibatch(step, count, generator) for step in range(count))


def read_coresets(path: str | Path, labels: Any = None) -> SavedCoresets:
    """Read saved coresets.

    Parameters
    ----------
    path
        The folder of a training run or of :meth:`crest.Coresets.save`, or a coresets.parquet alone,
        which knows the mini-batches but not the steps that were taken on them.
    labels
        Integers, n, in a tensor, an array or a list: the labels of the data they are to be used
        with, to be sure that they were chosen from these; None to take them as they are.

    Raises
    ------
    ArtifactError
        If there are none, or they are damaged, or were chosen from other data.
    ParameterError
        If the labels are no integers.
    """
    source = Path(path)
    file = artifacts.coresets_file(source)
    if not file.is_file():
        raise ArtifactError(
            f"{file}: no such file; name a folder that crest was trained into or that "
            "Coresets.save wrote, or a coresets.parquet"
        )
    coresets = artifacts.read_table(file, "coresets")
    steps = artifacts.read_table(source / artifacts.STEPS) if source.is_dir() else None
    known = None if labels is None else integers(labels, "labels")
    return from_tables(coresets, steps, known, str(file))


def from_tables(
    coresets: pl.DataFrame, steps: pl.DataFrame | None, labels: Tensor | None, where: str
) -> SavedCoresets:
    """Turn the tables of a run into mini-batches.

    Parameters
    ----------
    coresets, steps
        The 'coresets' table and, where there is one, the 'steps' table of the same run.
    labels
        int64, n: the labels of the training set they are to be used with; None where they are not
        known, and neither indices nor labels can be compared with them.
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
        indices=torch.tensor(group["index"].to_numpy(), device="cpu"),
        weights=torch.tensor(group["weight"].to_numpy(), device="cpu"),
        losses=torch.tensor(group["loss"].to_numpy(), device="cpu"),
        region=group["region"][0],
        number=group["minibatch"][0],
    )


def _check_rows(coresets: pl.DataFrame, labels: Tensor | None, where: str) -> None:
    """Find the first row that cannot be trained on."""
    rows = coresets.with_row_index("row")
    needed = ("region", "minibatch", "position", "index", "label", "weight")
    _refuse(
        rows,
        pl.any_horizontal(pl.col(needed).is_null()),
        f"{where}: row {{row}} has a null; {AGAIN}",
    )
    _check_indices(rows, labels, where)
    unusable = ~pl.col("weight").is_finite() | (pl.col("weight") < 0)
    message = f"{where}: row {{row}}: weight {{weight}} is not a number from 0 up; {AGAIN}"
    _refuse(rows, unusable, message)
    idle = (pl.col("weight").max() == 0).over("region", "minibatch")
    message = f"{where}: row {{row}}: every weight of its mini-batch is 0; {AGAIN}"
    _refuse(rows, idle, message)
    if labels is not None:
        _check_labels(rows, labels, where)


def _check_indices(rows: pl.DataFrame, labels: Tensor | None, where: str) -> None:
    if labels is None:
        message = f"{where}: row {{row}}: index {{index}} is below 0; {AGAIN}"
        _refuse(rows, pl.col("index") < 0, message)
        return
    outside = ~pl.col("index").is_between(0, len(labels) - 1)
    message = (
        f"{where}: row {{row}}: index {{index}} is outside the {len(labels)} training examples"
    )
    _refuse(rows, outside, f"{message}; were these coresets chosen from other data?")


def _check_labels(rows: pl.DataFrame, labels: Tensor, where: str) -> None:
    actual = pl.Series("actual", labels[torch.tensor(rows["index"].to_numpy())].numpy())
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
