"""What a run begins with: its methods, device and precision, its data and its model."""

import logging
from pathlib import Path

import torch
from torch import nn

from crest.config import Parameters
from crest.data.augment import Augmentation
from crest.data.files import ImageMeta, read_meta
from crest.data.prepared import Prepared, load
from crest.data.preprocessing import Preprocessing
from crest.devices.limits import require_threads
from crest.devices.precision import Precision, resolve_device, resolve_precision
from crest.errors import ArtifactError, ParameterError
from crest.methods import check_method
from crest.models import Spec, preprocessing_of, weights
from crest.parameters.sections import TrainParameters
from crest.pipeline.paths import Paths

logger = logging.getLogger(__name__)


def methods_of(parameters: Parameters, method: str | None) -> tuple[str, ...]:
    """Return the one method asked for, or all of run.methods; each is known."""
    names = (method,) if method else parameters.run.methods
    for name in names:
        check_method(name)
    return names


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


def prepared_data(
    parameters: Parameters, paths: Paths, device: torch.device, model: Path | None = None
) -> Prepared:
    """Open the prepared data, with the augmentation and for the weights that the parameters name.

    Parameters
    ----------
    model
        A file of a trained model, whose weights say how they want images; None for those that the
        parameters start from.
    """
    meta = read_meta(paths.prepared)
    if model is None:
        preprocessing = preprocessing_of(parameters.train, meta)
    else:
        preprocessing = weights.read_spec(model).preprocessing
    if parameters.train.input_size is not None and not isinstance(meta, ImageMeta):
        raise ParameterError("train.input_size: the prepared data are text; set to null")
    augmentation = augmentation_of(parameters.train)
    data = load(paths.prepared, device, augmentation, preprocessing)
    if isinstance(data.meta, ImageMeta):
        _check_fits(augmentation, data.meta)
    elif mixing := [key for key in ("mixup", "cutmix") if getattr(parameters.train, key)]:
        keys = ", ".join(f"train.{key}" for key in mixing)
        raise ParameterError(f"{keys}: the prepared data are text; set to 0.0")
    return data


def say_of_size(data: Prepared) -> None:
    """Tell of images of another size than the weights were trained with: most nets take them."""
    meta, preprocessing = data.meta, data.preprocessing
    if preprocessing is None or preprocessing.size is None or not isinstance(meta, ImageMeta):
        return
    height, width, channels = meta.image_shape
    height, width, _ = preprocessing.shape((height, width, channels))
    if (height, width) != (preprocessing.size, preprocessing.size):
        logger.warning(
            "the images are of %d x %d pixels, and %s was trained on %d x %d; "
            "prepare.image_size or train.input_size: %d is what it knows",
            *(width, height, preprocessing.source, preprocessing.size, preprocessing.size),
            preprocessing.size,
        )


def augmentation_of(parameters: TrainParameters) -> Augmentation:
    """Return the augmentation that the parameters name."""
    return Augmentation(
        crop=parameters.augment_crop,
        flip=parameters.augment_flip,
        scale=parameters.augment_scale,
        policy=parameters.augment_policy,
        policy_operations=parameters.randaugment_operations,
        policy_magnitude=parameters.randaugment_magnitude,
        color=parameters.augment_color,
        hue=parameters.augment_hue,
        erasing=parameters.augment_erasing,
    )


def _check_fits(augmentation: Augmentation, meta: ImageMeta) -> None:
    height, width, channels = meta.image_shape
    if augmentation.changes_colors and channels not in (1, 3):
        keys = [key for key in augmentation.asked if key.endswith(("policy", "color", "hue"))]
        raise ParameterError(
            f"{', '.join(keys)}: images of {channels} channels; only those of 1 or 3 have colours "
            "to change"
        )
    crop = augmentation.crop
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
    if spec.preprocessing != data.preprocessing:
        raise ArtifactError(
            f"{path}: of images normalised otherwise ({_whose(spec.preprocessing)}) than these are "
            f"({_whose(data.preprocessing)}); train it again"
        )
    return model.to(device)


def _whose(preprocessing: Preprocessing | None) -> str:
    return "by the data's own statistics" if preprocessing is None else preprocessing.source


def fresh_model(spec: Spec, seed: int, device: torch.device) -> nn.Module:
    """Build a model as training starts from it, on its device, channels last in memory.

    Raises
    ------
    ParameterError
        If it, or its weights, are not to be had.
    """
    model = spec.fresh(seed)
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model.to(device)
