"""What a run begins with: its methods, device and precision, its data and its model."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from crest.config import Parameters
from crest.data.augment import Augmentation
from crest.data.files import ImageMeta
from crest.data.prepared import Prepared, load
from crest.devices.limits import require_threads
from crest.devices.precision import Precision, resolve_device, resolve_precision
from crest.errors import ArtifactError, ParameterError
from crest.methods import check_method
from crest.models import Spec, weights
from crest.pipeline.paths import Paths


def methods_of(parameters: Parameters, method: str | None) -> tuple[str, ...]:
    """Return the one method asked for, or all of run.methods; each is known."""
    names = (method,) if method else parameters.run.methods
    for name in names:
        check_method(name)
    return names


def check_seeds(parameters: Parameters, seeds: Sequence[int]) -> None:
    """Refuse a further seed that is train.seed, whose run there is anyway."""
    if parameters.train.seed in seeds:
        raise ParameterError(
            f"--seed, run.seeds: {parameters.train.seed} is train.seed, which train itself runs; "
            "leave it out"
        )


def configure_torch(parameters: Parameters) -> None:
    """Settle how torch computes, for the whole process.

    That is the CPU's threads, and the order in which cuDNN adds, which in float32 is otherwise a
    new one each time.
    """
    torch.backends.cudnn.deterministic = True
    if parameters.train.threads is not None:
        require_threads("train.threads", parameters.train.threads)
        torch.set_num_threads(parameters.train.threads)


def run_precision(parameters: Parameters) -> Precision:
    """Return the device and precision that the parameters name."""
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


def load_trained(path: Path, data: Prepared, device: torch.device) -> nn.Module:
    """Load a trained model; :class:`ArtifactError` if it is not one for these data."""
    model, spec = weights.load_model(path)
    if misfit := spec.misfit(data.meta):
        raise ArtifactError(f"{path}: {misfit}; use a model trained on them")
    return model.to(device)


def fresh_model(spec: Spec, seed: int, device: torch.device) -> nn.Module:
    """Build a model as training starts from it, on its device, channels last in memory."""
    model = spec.fresh(seed)
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model.to(device)
