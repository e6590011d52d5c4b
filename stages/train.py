"""train: a model on what a method chooses, everything saved."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import nn

from crest import artifacts
from crest.config import Parameters
from crest.data.augment import Augmentation
from crest.data.files import ImageMeta
from crest.data.prepared import Prepared, load
from crest.distributed import ALONE, Group
from crest.errors import ArtifactError, DamagedDataError, ParameterError
from crest.limits import require_memory, require_space, require_threads
from crest.methods import METHODS, Context
from crest.methods.replay import all_of_size
from crest.models import Spec, spec_for, weights
from crest.models.checkpointing import checkpoint_activations
from crest.selection.saved import SavedCoresets, coresets_file
from crest.selection.saved import read_coresets as read_saved
from crest.training.generators import generator_for
from crest.training.loop import Run, train
from crest.training.precision import Precision, resolve_device, resolve_precision
from crest.training.recorder import spaced_steps
from crest.training.schedules import budget_steps, total_steps
from crest.training.snapshots import Snapshots
from crest.training.state import Checkpoint
from stages import signals
from stages.manifest import coresets_origin, seal
from stages.paths import TRAINED, Paths
from stages.progress import progress_bar
from stages.provenance import describe, identity
from stages.resume import checkpoint_for

# Of a step's row in the tables, while it is collected.
STEP_BYTES = 300

logger = logging.getLogger(__name__)


def run(
    parameters: Parameters,
    paths: Paths,
    method: str,
    fresh: bool = False,
    group: Group = ALONE,
) -> dict[str, Any]:
    """Train with a method, and write everything to artifacts/train/METHOD; returns its metrics.

    A run that was stopped or killed goes on from its last saved state, unless ``fresh``. Of several
    processes that train together rank 0 writes.

    Raises
    ------
    ParameterError
        If the method is unknown or a parameter does not fit the data.
    ArtifactError
        If prepared data or the coresets to replay are missing or damaged.
    TrainingError
        If training fails.
    """
    check_method(method)
    precision = run_precision(parameters)
    data = prepared_data(parameters, paths, precision.device)
    saved, origin = None, None
    if method == "replay":
        source = paths.root / parameters.replay.coresets
        saved = read_coresets(source, data, parameters.train.batch_size)
        origin = coresets_origin(source, data.meta)
    with (
        signals.noted(insisting=group.alone) as stop,
        _results(paths.train(method), group) as folder,
    ):
        place = paths.resume(f"train-{method}")
        checkpoint = checkpoint_for(
            place, parameters, method, data.meta, precision, saved, stop, group
        )
        with group.naming_the_lost():
            group.require_alike(_started_with(checkpoint, precision, fresh))
        if fresh:
            checkpoint.remove()
            group.wait()
        with group.naming_the_lost():
            trained = train_model(parameters, data, method, precision, saved, checkpoint, group)
        if folder is not None:
            write(trained, folder)
            runs = {method: trained.metrics["run"]}
            seal(folder, runs, data.meta.content_hash, origin)
    checkpoint.remove()
    return trained.metrics


def _started_with(checkpoint: Checkpoint, precision: Precision, fresh: bool) -> dict[str, str]:
    """Return what all processes of a run have to have alike: of a device, its kind."""
    return {**checkpoint.key, "device": precision.device.type, "--fresh": str(fresh)}


def _results(folder: Path, group: Group) -> AbstractContextManager[Path | None]:
    """Return the folder to write results to, put in place at the end; None: nowhere."""
    return artifacts.replacing_folder(folder, TRAINED) if group.first else nullcontext()


def methods_of(parameters: Parameters, method: str | None) -> tuple[str, ...]:
    """Return the one method asked for, or all of train.methods; each is known."""
    names = (method,) if method else parameters.train.methods
    for name in names:
        check_method(name)
    return names


def check_method(method: str) -> None:
    """Raise a :class:`ParameterError` if there is no such method."""
    if method not in METHODS:
        raise ParameterError(
            f"--method, train.methods: '{method}' is not one of {', '.join(METHODS)}"
        )


@dataclass(frozen=True)
class Trained:
    """A trained model and everything that is saved of its run."""

    model: nn.Module
    spec: Spec
    run: Run
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    snapshots: Snapshots | None = None


def run_precision(parameters: Parameters) -> Precision:
    """Return the device and precision that the parameters name, and settle how both compute.

    That is the CPU's threads, and the order in which cuDNN adds, which in float32 is otherwise a
    new one each time.
    """
    torch.backends.cudnn.deterministic = True
    if parameters.train.threads is not None:
        require_threads("train.threads", parameters.train.threads)
        torch.set_num_threads(parameters.train.threads)
    device = resolve_device(parameters.train.device)
    return resolve_precision(parameters.train.precision, device)


def prepared_data(parameters: Parameters, paths: Paths, device: torch.device) -> Prepared:
    """Open the prepared data, with the augmentation that the parameters name."""
    crop = parameters.train.augment_crop
    data = load(paths.prepared, device, Augmentation(crop, parameters.train.augment_flip))
    if isinstance(data.meta, ImageMeta):
        _check_crop(crop, data.meta)
    return data


def _check_crop(crop: int, meta: ImageMeta) -> None:
    height, width, _ = meta.image_shape
    if crop > min(height, width):
        raise ParameterError(
            f"train.augment_crop: {crop} pixels of padding are more than an image of "
            f"{width}×{height} pixels has; use at most {min(height, width)}"
        )


def read_coresets(source: Path, data: Prepared, batch_size: int) -> SavedCoresets:
    """Read saved coresets to replay: a training run's folder, or a coresets.parquet alone.

    Says so if their mini-batches are not of ``batch_size``.
    """
    path = existing_coresets(source)
    saved = read_saved(source, data.train.labels)
    if not all_of_size(saved, batch_size):
        logger.warning(
            "%s: its mini-batches hold %d examples, train.batch_size is %d: each step takes so "
            "many of its region's",
            path,
            len(saved.regions[0][0].indices),
            batch_size,
        )
    return saved


def existing_coresets(source: Path) -> Path:
    """Return the file of coresets that a training run's folder holds, or that is named itself."""
    path = coresets_file(source)
    if not path.is_file():
        raise ArtifactError(
            f"{path}: no such file; it is written by training with a method that selects, such as "
            "crest: train, or name another (--coresets, reuse.coresets, replay.coresets)"
        )
    return path


def load_trained(path: Path, data: Prepared, device: torch.device) -> nn.Module:
    """Load a trained model; :class:`ArtifactError` if it is not one for these data."""
    model, spec = weights.load_model(path)
    if misfit := spec.misfit(data.meta):
        raise ArtifactError(f"{path}: {misfit}; use a model trained on them")
    return model.to(device)


def train_model(
    parameters: Parameters,
    data: Prepared,
    method: str,
    precision: Precision,
    saved: SavedCoresets | None,
    checkpoint: Checkpoint | None = None,
    group: Group = ALONE,
) -> Trained:
    """Train a model on what a method chooses, from the start or from its saved state.

    Snapshots are kept beside the checkpoint; without one there are none.
    """
    settings = parameters.train
    spec = METHODS[method]
    full_steps = total_steps(settings.epochs, len(data.train), settings.batch_size)
    steps = full_steps if spec.takes_all_steps else budget_steps(settings.budget, full_steps)
    what = f"the tables of {steps} steps"
    require_memory("train.epochs", steps * STEP_BYTES, what)
    model_spec = spec_for(settings, data.meta)
    model = fresh_model(model_spec, settings.seed, precision.device)
    if settings.activation_checkpointing:
        checkpoint_activations(model)
    started_from = weights.digest(model)
    group.require_alike({"initial weights": started_from})
    context = context_of(parameters, data, model, steps, precision, group)
    stop = checkpoint.stop if checkpoint else context.stop
    if not group.alone:
        stop = _stop_of(group)
    snapshots = None
    if checkpoint is not None and settings.snapshots and group.first:
        moments = spaced_steps(steps, settings.snapshots)
        if not checkpoint.path.exists():
            _require_space(model, len(moments), checkpoint.snapshots)
        snapshots = Snapshots(checkpoint.snapshots, model_spec, moments)
    chooser = spec.build(replace(context, saved=saved, stop=stop))
    with (
        _forgetting_what_rests_on_damage(checkpoint),
        progress_bar(f"train {method}", steps, shown=group.first) as advance,
    ):
        done = train(
            model,
            chooser,
            data.train,
            data.validation,
            steps,
            settings,
            precision,
            _watching(data, advance),
            checkpoint,
            full_steps if spec.schedule_of_full else None,
            snapshots,
            group,
        )
        data.require_whole()
    run = identity(parameters, data.meta, method, weights.digest(model))
    metrics = {"run": run, **_metrics(done, method, settings.model, data, full_steps)}
    metrics["seconds_saving"] = checkpoint.seconds if checkpoint else 0.0
    if not group.alone:
        metrics |= {"processes": group.size, "bytes_exchanged": group.bytes_exchanged}
    provenance = describe(parameters, data.meta, precision, method, settings.model)
    provenance["processes"] = group.size
    provenance["used"] = done.record.used or {}
    provenance["initial_weights"] = started_from  # a name on the hub may come to mean others
    provenance = {"run": run, **provenance}
    return Trained(model, model_spec, done, metrics, provenance, snapshots)


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


def fresh_model(spec: Spec, seed: int, device: torch.device) -> nn.Module:
    """Build a model as training starts from it, on its device, channels last in memory."""
    model = spec.fresh(seed)
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model.to(device)


def context_of(
    parameters: Parameters,
    data: Prepared,
    model: nn.Module,
    steps: int,
    precision: Precision,
    group: Group = ALONE,
) -> Context:
    """Return what a method is given at the start of a run."""
    return Context(
        model=model,
        train=data.train,
        steps=steps,
        batch_size=parameters.train.batch_size,
        precision=precision,
        generator=generator_for(parameters.train.seed, "method"),
        parameters=parameters,
        group=group,
    )


def _write_tables(done: Run, folder: Path, about: Mapping[str, str]) -> None:
    examples = [done.examples_table]
    if done.record.looks is not None:
        examples.append(done.record.looks)
    artifacts.write_table(folder / artifacts.STEPS, done.steps)
    artifacts.write_table(folder / artifacts.VALIDATION, done.validation)
    artifacts.write_table(folder / artifacts.EXAMPLES, pl.concat(examples))
    if done.record.coresets is not None:
        artifacts.write_table(folder / artifacts.CORESETS, done.record.coresets, about=about)
    if done.record.regions is not None:
        artifacts.write_table(folder / artifacts.REGIONS, done.record.regions)


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
    }
