"""A run of training: a model on what a method chooses, and everything that is kept of it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import nn

from crest import artifacts
from crest.config import Parameters
from crest.data.files import TextMeta
from crest.data.prepared import Prepared
from crest.data.views.alternating import AlternatingFlips
from crest.devices.distributed import ALONE, Group
from crest.devices.generators import generator_for
from crest.devices.limits import require_memory, require_space
from crest.devices.precision import Precision
from crest.errors import DamagedDataError, ParameterError
from crest.inference.flops import Flops, count_flops
from crest.methods import METHODS
from crest.models import MODELS, Spec, spec_for, starts_at_random, weights
from crest.models.checkpointing import checkpoint_activations
from crest.models.freezing import freeze_backbone
from crest.models.head import last_module
from crest.pipeline.embeddings import on_features, trains_on_features
from crest.pipeline.inputs import fresh_model, say_of_size
from crest.pipeline.provenance import describe, identity
from crest.pipeline.watching import watched
from crest.samplers.base import Context
from crest.samplers.saved import SavedCoresets
from crest.training.compiling import require_compilable
from crest.training.loop import Point, Report, Run, train
from crest.training.recorder import spaced_steps
from crest.training.schedules import budget_steps, total_steps
from crest.training.snapshots import Snapshots
from crest.training.state import Checkpoint

# Of a step's row in the tables, while it is collected.
STEP_BYTES = 300


@dataclass(frozen=True)
class Trained:
    """A trained model and everything that is saved of its run."""

    model: nn.Module
    spec: Spec
    run: Run
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    snapshots: Snapshots | None = None


def train_model(
    parameters: Parameters,
    data: Prepared,
    method: str,
    precision: Precision,
    saved: SavedCoresets | None,
    checkpoint: Checkpoint | None = None,
    group: Group = ALONE,
    embeddings: Path | None = None,
    track: Report | None = None,
) -> Trained:
    """Train a model on what a method chooses, from the start or from its saved state.

    Snapshots are kept beside the checkpoint; without one there are none. A head over a frozen
    backbone is trained on what the backbone makes of the images, once, where nothing is drawn of
    them; ``embeddings`` is a folder of them, which are used where they are the same. ``track`` is
    called with how the run stands, as whoever watches it is.
    """
    settings = parameters.train
    spec = METHODS[method]
    full_steps = total_steps(settings.epochs, len(data.train), settings.batch_size)
    steps = full_steps if spec.takes_all_steps else budget_steps(settings.budget, full_steps)
    what = f"the tables of {steps} steps"
    require_memory("train.epochs", steps * STEP_BYTES, what)
    require_compilable(settings, group, isinstance(data.meta, TextMeta))
    model_spec = spec_for(settings, data.meta, data.preprocessing)
    model = fresh_model(model_spec, settings.seed, precision.device)
    if group.first:
        say_of_size(data)
    if settings.freeze == "backbone":
        if starts_at_random(settings, data.meta):
            raise ParameterError(
                f"train.freeze: backbone, and {settings.model} starts from random weights, which "
                "would stay; set train.weights, such as to pretrained"
            )
        freeze_backbone(model)
    started_from = weights.digest(model)
    whole = model
    embedding: dict[str, Any] = {}
    if trains_on_features(parameters, method, model, data):
        model, data, embedding = _on_features(model, model_spec, data, precision, embeddings)
    elif settings.activation_checkpointing:
        checkpoint_activations(model)
    flops = count_flops(model, data.train)
    group.require_same({"initial weights": started_from})
    context = context_of(parameters, method, data, model, steps, precision, group)
    if whole is model:  # a head on features begins anew
        context = replace(context, pretrained=not starts_at_random(settings, data.meta))
    flips = None
    if settings.augment_flip == "alternating":
        flips = AlternatingFlips(len(data.train), generator_for(settings.seed, "flips"))
    stop = checkpoint.stop if checkpoint else context.stop
    if not group.alone:
        stop = _stop_of(group)
    snapshots = None
    if checkpoint is not None and settings.snapshots and group.first:
        snapshot_steps = spaced_steps(steps, settings.snapshots)
        if not checkpoint.path.exists():
            _require_space(model, len(snapshot_steps), checkpoint.snapshots)
        snapshots = Snapshots(checkpoint.snapshots, model_spec, snapshot_steps)
    chooser = spec.build(replace(context, saved=saved, stop=stop, flips=flips))
    with (
        _forgetting_what_rests_on_damage(checkpoint),
        watched(f"train {method}", steps, visible=group.first) as watcher,
    ):
        done = train(
            model,
            chooser,
            data.train,
            data.validation,
            steps,
            settings,
            precision,
            _watching(data, watcher.advance),
            checkpoint,
            full_steps if spec.schedule_of_full or settings.horizon == "full" else None,
            snapshots,
            group,
            _both(watcher.report, track),
            flips,
        )
        data.require_whole()
    run = identity(parameters, data.meta, method, weights.digest(whole))
    metrics = {"run": run, **_metrics(done, method, settings.model, data, full_steps)}
    metrics |= {**_flop(done, flops), **embedding, **_started_from(model_spec)}
    metrics["seconds_saving"] = checkpoint.seconds if checkpoint else 0.0
    if not group.alone:
        metrics |= {"processes": group.size, "bytes_exchanged": group.bytes_exchanged}
    provenance = describe(parameters, data.meta, precision, method, settings.model)
    provenance["processes"] = group.size
    provenance["used"] = done.record.used or {}
    provenance["initial_weights"] = started_from  # a name on the hub may come to mean others
    provenance |= _started_from(model_spec)
    provenance = {"run": run, **provenance}
    return Trained(whole, model_spec, done, metrics, provenance, snapshots)


def _both(report: Report, track: Report | None) -> Report:
    """Return what tells two of how a run stands, where there are two."""
    if track is None:
        return report

    def tell(point: Point) -> None:
        report(point)
        track(point)

    return tell


def _require_space(model: nn.Module, count: int, folder: Path) -> None:
    """Refuse more snapshots than the disk holds, beside the state and once more with the run."""
    each = sum(value.nbytes for value in model.state_dict().values())
    require_space("train.snapshots", 2 * count * each, f"{count} snapshots of the weights", folder)


def _watching(data: Prepared, advance: Callable[[int], None]) -> Callable[[int], None]:
    """Stop as soon as data that are checked meanwhile are found to be damaged."""

    def step(count: int) -> None:
        data.require_whole(wait=False)
        advance(count)

    return step


@contextmanager
def _forgetting_what_rests_on_damage(checkpoint: Checkpoint | None) -> Iterator[None]:
    """Remove the state of a run whose data turn out to be damaged: it may have seen them so."""
    try:
        yield
    except DamagedDataError:
        if checkpoint is not None:
            checkpoint.remove()
        raise


def _stop_of(group: Group) -> Callable[[], int]:
    """Return what asks a method to stop: only what all processes have agreed on."""
    return lambda: group.signal


def write(trained: Trained, folder: Path) -> None:
    """Write the artifacts of a run into an empty folder."""
    weights.save(trained.model, trained.spec, folder / artifacts.MODEL)
    about = {"run": trained.metrics["run"], "data": trained.provenance["data"]["content_hash"]}
    _write_tables(trained.run, folder, about)
    artifacts.write_json(folder / artifacts.METRICS, trained.metrics)
    artifacts.write_json(folder / artifacts.RUN, trained.provenance)
    if trained.snapshots is not None:
        trained.snapshots.copy_to(folder / artifacts.SNAPSHOTS)


def context_of(
    parameters: Parameters,
    method: str,
    data: Prepared,
    model: nn.Module,
    steps: int,
    precision: Precision,
    group: Group = ALONE,
) -> Context[Any]:
    """Return what a method is given at the start of a run."""
    return Context(
        model=model,
        train=data.train,
        steps=steps,
        batch_size=parameters.train.batch_size,
        precision=precision,
        generator=generator_for(parameters.train.seed, "method"),
        parameters=parameters.of_method(method),
        group=group,
        label_smoothing=parameters.train.label_smoothing,
        build_model=lambda name: _another(parameters, data, name, precision.device),
    )


def _another(parameters: Parameters, data: Prepared, name: str, device: torch.device) -> nn.Module:
    """Return a fresh model of another name, its weights drawn for itself."""
    settings = parameters.train.model_copy(update={"model": name, "weights": None})
    seed = torch.randint(2**31, (), generator=generator_for(settings.seed, "another model"))
    key = "batch_selection.proxy_model.model"
    if isinstance(data.meta, TextMeta) and name in MODELS:
        raise ParameterError(f"{key}: {name} is of images, the data are text; name one of text")
    try:
        return fresh_model(spec_for(settings, data.meta, data.preprocessing), int(seed), device)
    except ParameterError as error:
        raise ParameterError(str(error).replace("train.model", key, 1)) from None


def _write_tables(done: Run, folder: Path, about: Mapping[str, str]) -> None:
    examples = [done.examples_table]
    if done.record.scored is not None:
        examples.append(done.record.scored)
    artifacts.write_table(folder / artifacts.STEPS, done.steps)
    artifacts.write_table(folder / artifacts.VALIDATION, done.validation)
    artifacts.write_table(folder / artifacts.EXAMPLES, pl.concat(examples))
    if done.record.coresets is not None:
        artifacts.write_table(folder / artifacts.CORESETS, done.record.coresets, about=about)
    if done.record.regions is not None:
        artifacts.write_table(folder / artifacts.REGIONS, done.record.regions)


def _on_features(
    model: nn.Module, spec: Spec, data: Prepared, precision: Precision, folder: Path | None
) -> tuple[nn.Module, Prepared, dict[str, Any]]:
    """Return a model's head, which is trained in its place, what it is trained on, and the cost."""
    started = time.perf_counter()
    flops = count_flops(model, data.train)
    embedded, computed = on_features(model, spec, data, precision, folder)
    cost = {
        "seconds_embedding": time.perf_counter() - started,
        "flop_embedding": None if flops is None else round(computed * flops.forward),
    }
    head = last_module(model)
    assert head is not None
    return nn.Sequential(head), embedded, cost


def _started_from(spec: Spec) -> dict[str, Any]:
    """Return what a pretrained model started from, and how it wants images; of others nothing."""
    found: dict[str, Any] = {} if spec.weights is None else {"weights": spec.weights}
    if spec.preprocessing is not None:
        found["preprocessing"] = asdict(spec.preprocessing)
    return found


def _flop(done: Run, flops: Flops | None) -> dict[str, int | None]:
    """Return FLOP of training and of scoring; those of products with the Hessian are left out.

    None where they cannot be counted.
    """
    if flops is None:
        return {"flop_train": None, "flop_select": None}
    counts = done.record.counts or {}
    by_the_model = round(counts.get("examples_scored", 0) * flops.forward)
    return {
        "flop_train": round(done.examples * flops.step),
        "flop_select": counts.get("flop_select", by_the_model),
    }


def _metrics(done: Run, method: str, model: str, data: Prepared, full_steps: int) -> dict[str, Any]:
    steps = len(done.steps)
    choosing = done.record.seconds or {}
    regions = 0 if done.record.regions is None else len(done.record.regions)
    return {
        "method": method,
        "model": model,
        "dataset": data.meta.dataset,
        "steps": steps,
        "full_steps": full_steps,
        "budget": steps / full_steps,
        "examples_trained": done.examples,
        "seconds_train": done.seconds,
        "seconds": {**choosing, "train": done.seconds - sum(choosing.values())},
        "regions": regions,
        **(done.record.counts or {}),
        **(done.record.used or {}),
        "train_loss": done.steps["loss"].tail(max(1, steps // 20)).mean(),
        **_validated(done),
    }


def _validated(done: Run) -> dict[str, float]:
    """Return loss and accuracy of the last point of the validation curve, where there is one."""
    if not len(done.validation):
        return {}
    last = done.validation.row(-1, named=True)
    return {"validation_loss": last["loss"], "validation_accuracy": last["accuracy"]}
