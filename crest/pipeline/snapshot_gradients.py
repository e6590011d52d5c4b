"""What the models of a run's snapshots show: gradient errors, and examples dropped."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from crest import artifacts
from crest.analysis.gradient_error import GradientErrors, gradient_errors
from crest.analysis.runs import ANALYSIS_TABLES, Run
from crest.config import Parameters, parse
from crest.data.prepared import Prepared
from crest.devices.generators import generator_for
from crest.devices.limits import require_passes
from crest.devices.precision import Precision
from crest.errors import ArtifactError, ParameterError
from crest.inference.evaluation import BLOCK
from crest.inference.evaluator import Evaluator
from crest.methods.crest import CrestParameters
from crest.pipeline import manifest
from crest.pipeline.inputs import configure_torch, load_trained, prepared_data, run_precision
from crest.pipeline.paths import Paths
from crest.pipeline.progress import progress_bar
from crest.samplers.sizes import subset_size
from crest.training.snapshots import find_snapshots

logger = logging.getLogger(__name__)

# The method whose coresets are chosen as the parameters of its section say.
CREST = "crest"


@dataclass(frozen=True)
class Snapshot:
    """The model of a run after ``step`` training steps; ``parameters`` are the run's own."""

    run: Run
    step: int
    model: nn.Module
    data: Prepared
    precision: Precision
    parameters: Parameters

    @property
    def dropped(self) -> Tensor:
        """The examples that were excluded as learned by then, int64."""
        gone = pl.col("excluded_at").is_between(0, self.step - 1)
        return torch.tensor(self.run.examples.filter(gone)["index"].unique().to_list()).long()

    @property
    def minibatches(self) -> int:
        """P, the mini-batch coresets of the region that the last step was in."""
        assert self.run.regions is not None
        holding = self.run.regions.filter(pl.col("start_step") < self.step)
        return int(holding.sort("region")["minibatches"][-1])


def measure(
    parameters: Parameters, paths: Paths, runs: Sequence[Run]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the tables 'gradient_errors' and 'dropped_accuracy' of the runs that select.

    A run without snapshots has no rows, and a message says so.

    Raises
    ------
    ArtifactError
        If a snapshot, the prepared data or the description of a run are damaged, or do not go
        together.
    """
    gradients: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    analyze = parameters.analyze
    for snapshot in _opened(parameters, paths, [run for run in runs if run.coresets is not None]):
        if snapshot.run.method == CREST:
            gradients += _gradient_rows(snapshot, analyze.gradient_sample, analyze.gradient_draws)
        dropped += _dropped_rows(snapshot, analyze.gradient_sample)
    return _table("gradient_errors", gradients), _table("dropped_accuracy", dropped)


def _opened(parameters: Parameters, paths: Paths, runs: Sequence[Run]) -> Iterator[Snapshot]:
    """Load the models of all snapshots, one after the other."""
    found = [
        (run, step, path)
        for run in runs
        for step, path in _snapshots(run, paths.train(run.method)).items()
    ]
    if not found:
        return
    configure_torch(parameters)
    precision = run_precision(parameters)
    data = prepared_data(parameters, paths, precision.device)
    with progress_bar("analyze snapshots", len(found)) as advance:
        for done, (run, step, path) in enumerate(found, start=1):
            own = _own_parameters(paths.train(run.method), data)
            model = load_trained(path, data, precision.device)
            yield Snapshot(run, step, model, data, precision, own)
            advance(done)
    data.require_whole()


def _snapshots(run: Run, folder: Path) -> dict[int, Path]:
    found = find_snapshots(folder / artifacts.SNAPSHOTS)
    if not found:
        logger.warning(
            "analyze: %s kept no snapshots: gradient errors and the accuracy of the examples it "
            "dropped are left out; set train.snapshots, such as to 4, and train it again",
            run.method,
        )
        return found
    sealed = manifest.of_training(folder, run.method)
    sealed.verify(artifacts.RUN, *(path.relative_to(folder).as_posix() for path in found.values()))
    return found


def _own_parameters(folder: Path, data: Prepared) -> Parameters:
    """Return the parameters that a run was trained with, on these data."""
    path = folder / artifacts.RUN
    values = artifacts.read_json(path)
    described = values.get("data")
    if not isinstance(described, dict) or described.get("content_hash") != data.meta.content_hash:
        raise ArtifactError(
            f"{path}: trained on other data than data/prepared holds now; train it again"
        )
    try:
        return parse(values.get("parameters") or {}, str(path))
    except ParameterError as error:
        raise ArtifactError(f"{error}; train it again with this code") from None


def _gradient_rows(snapshot: Snapshot, sample: int, draws: int) -> list[dict[str, Any]]:
    """Rows of 'gradient_errors' of one snapshot."""
    settings, own = snapshot.parameters, snapshot.parameters.of(CrestParameters)
    examples = len(snapshot.data.train)
    size = subset_size(own, examples, settings.train.batch_size)
    require_passes("analyze.gradient_draws", draws, size, examples, "draws")
    found = gradient_errors(
        Evaluator(
            snapshot.model,
            snapshot.data.train,
            snapshot.precision,
            label_smoothing=settings.train.label_smoothing,
        ),
        snapshot.dropped,
        own,
        settings.train.batch_size,
        snapshot.minibatches,
        generator_for(settings.train.seed, f"gradient errors {snapshot.step}"),
        sample,
        draws,
    )
    return [
        {
            "method": snapshot.run.method,
            "step": snapshot.step,
            "group": group,
            **_relative(found, kind),
        }
        for group, kind in GROUPS.items()
    ]


# What the table calls each field of GradientErrors.
GROUPS = {
    "mini-batch coreset": "coreset",
    "union of a region's": "union",
    "random mini-batch": "minibatch",
    "random subset": "subset",
}


def _relative(found: GradientErrors, kind: str) -> dict[str, Any]:
    """Bias and error in units of ‖g‖; an estimate below 0 counts as 0."""
    error, square = getattr(found, kind), found.gradient_square

    def share(value: float) -> float | None:
        return sqrt(max(value, 0.0) / square) if square > 0 else None

    return {
        "examples": error.examples,
        "bias": share(error.bias_squared),
        "error": share(error.mean_square),
        "variance": max(error.variance, 0.0),
        "gradient_norm": sqrt(max(square, 0.0)),
    }


def _dropped_rows(snapshot: Snapshot, sample: int) -> list[dict[str, Any]]:
    """Rows of 'dropped_accuracy' of one snapshot; none of dropped before there are some."""
    dropped = torch.zeros(len(snapshot.data.train), dtype=torch.bool)
    dropped[snapshot.dropped] = True
    groups = {"dropped": dropped, "still drawn from": ~dropped}
    purpose = f"dropped examples {snapshot.step}"
    generator = generator_for(snapshot.parameters.train.seed, purpose)
    return [
        {
            "method": snapshot.run.method,
            "step": snapshot.step,
            "group": group,
            "examples": int(members.sum()),
            "accuracy": _accuracy(snapshot, members.nonzero().flatten(), sample, generator),
        }
        for group, members in groups.items()
        if members.any()
    ]


def _accuracy(
    snapshot: Snapshot, members: Tensor, sample: int, generator: torch.Generator
) -> float:
    """Share classified right of the members, or of a random sample of them."""
    if len(members) > sample:
        members = members[torch.randperm(len(members), generator=generator)[:sample]]
    right = [
        Evaluator(snapshot.model, snapshot.data.train, snapshot.precision).score(block).correct
        for block in members.split(BLOCK)
    ]
    return float(torch.cat(right).double().mean())


def _table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(ANALYSIS_TABLES[name]))
