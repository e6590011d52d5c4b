"""What a backbone makes of every example, computed once: the inputs of the model's last layer."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crest import artifacts
from crest.config import Parameters
from crest.data.features import FeatureSplit
from crest.data.files import Meta
from crest.data.prepared import Prepared, Split
from crest.data.verifying import file_hash
from crest.devices.precision import Precision
from crest.errors import ArtifactError, ParameterError
from crest.inference.evaluator import Evaluator
from crest.models import Spec
from crest.models.grafting import head_keys
from crest.models.head import last_module
from crest.pipeline.arithmetic import arithmetic

DESCRIPTION = "embeddings.json"
SCHEMA_VERSION = 1
AT_ONCE = 2000  # examples
TYPES = {"float16": np.float16, "float32": np.float32}
USED = "float16"  # by training a head on them, whatever the artifact holds

Done = Callable[[int], None]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Described:
    """What embeddings are of; equal ones are the same numbers.

    ``backbone`` is a hash of all weights but the head's, ``data`` the content hash of the prepared
    data; ``precision`` and ``processor`` what they were computed in and by.
    """

    schema_version: int
    model: str
    weights: str | None
    backbone: str
    data: str
    preprocessing: dict[str, Any] | None
    precision: str
    processor: str
    dtype: str
    dimension: int


def describe(
    model: nn.Module, spec: Spec, meta: Meta, precision: Precision, dtype: str
) -> Described:
    """Describe the embeddings of prepared data by a model.

    Raises
    ------
    ParameterError
        If the model has no last layer, whose inputs they are.
    """
    layer = last_module(model)
    if layer is None:
        raise ParameterError(
            f"train.model: {spec.name} has no last layer, whose inputs embeddings are; use another"
        )
    wanted = None if spec.preprocessing is None else asdict(spec.preprocessing)
    return Described(
        schema_version=SCHEMA_VERSION,
        model=spec.name,
        weights=spec.weights,
        backbone=_backbone(model),
        data=meta.content_hash,
        # As JSON has it, so that it can be compared.
        preprocessing=json.loads(json.dumps(wanted)),
        precision=precision.name,
        processor=arithmetic(precision.device),
        dtype=dtype,
        dimension=layer.weight[0].numel(),
    )


def _backbone(model: nn.Module) -> str:
    """Return a hash of the weights without the head's, which embeddings do not depend on."""
    head = head_keys(model)
    rest = {key: value for key, value in model.state_dict().items() if key not in head}
    found = hashlib.sha256()
    for name, tensor in sorted(rest.items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def splits_of(data: Prepared) -> dict[str, Split]:
    """Return the splits by name, those that there are."""
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: split for name, split in named.items() if split is not None}


def blocks(
    model: nn.Module,
    split: Split,
    precision: Precision,
    dtype: str,
    advice: str = "set embed.dtype to float32",
) -> Iterator[tuple[int, Array]]:
    """Yield the embeddings of some examples after others, and where they begin.

    ``advice`` is what to do where one is beyond ``dtype``.

    Raises
    ------
    ArtifactError
        If one is no finite number in ``dtype``.
    """
    evaluator = Evaluator(model, split, precision)
    for indices in torch.arange(len(split)).split(AT_ONCE):
        with np.errstate(over="ignore"):  # said below
            features = evaluator.score(indices).features.cpu().numpy().astype(TYPES[dtype])
        start = int(indices[0])
        if not np.isfinite(features).all():
            row = start + int(np.isfinite(features).all(1).argmin())
            raise ArtifactError(
                f"embeddings: that of example {row} is not finite in {dtype}; {advice}, or use "
                "other weights"
            )
        yield start, features


def write_array(
    path: Path,
    model: nn.Module,
    split: Split,
    precision: Precision,
    described: Described,
    done: Done,
) -> None:
    """Write a split's embeddings, a block after another: n×d in NumPy's format."""
    shape = (len(split), described.dimension)
    array = np.lib.format.open_memmap(path, "w+", TYPES[described.dtype], shape)
    for start, features in blocks(model, split, precision, described.dtype):
        array[start : start + len(features)] = features
        done(start + len(features))
    array.flush()


def file_of(split: str) -> str:
    """Return the name of a split's file."""
    return f"{split}.npy"


def read_described(folder: Path) -> Described | None:
    """Return what a folder's embeddings are of; None where there are none, or of another making."""
    try:
        values = artifacts.read_json(folder / DESCRIPTION)
        return Described(**values["of"])
    except (ArtifactError, KeyError, TypeError):
        return None


def is_whole(folder: Path, split: str) -> bool:
    """Whether a split's file is what its folder's description has the hash of."""
    path = folder / file_of(split)
    if not path.is_file():
        return False
    hashes = artifacts.read_json(folder / DESCRIPTION).get("sha256", {})
    return bool(hashes.get(path.name) == file_hash(path))


def open_whole(folder: Path, split: str, described: Described, count: int) -> Array:
    """Map a split's embeddings of a finished folder, as :func:`open_array` does.

    Raises
    ------
    ArtifactError
        Also if they are other than when they were written.
    """
    array = open_array(folder, split, described, count)
    if not is_whole(folder, split):
        raise ArtifactError(
            f"{folder / file_of(split)}: other than when it was written: its checksum is another; "
            "run embed again"
        )
    return array


def open_array(folder: Path, split: str, described: Described, count: int) -> Array:
    """Map a split's embeddings.

    Raises
    ------
    ArtifactError
        If they are missing, damaged or not as many as there are examples.
    """
    path = folder / file_of(split)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); run embed again") from None
    if array.shape != (count, described.dimension) or array.dtype != TYPES[described.dtype]:
        raise ArtifactError(
            f"{path}: {array.dtype} {array.shape}, not as its description says; run embed again"
        )
    return array


def on_features(
    model: nn.Module, spec: Spec, data: Prepared, precision: Precision, folder: Path | None
) -> tuple[Prepared, int]:
    """Return data whose examples are what the backbone makes of them, and how many it ran on.

    The test split stays as it is.

    Parameters
    ----------
    folder
        Of embeddings, which are used where they are the same; None to compute them.

    Raises
    ------
    ArtifactError
        If some are not finite.
    """
    described = describe(model, spec, data.meta, precision, USED)
    instead = "set train.freeze to none (a head is trained on what the backbone gives in float16)"
    known = folder if folder is not None and read_described(folder) == described else None

    def features(name: str, split: Split) -> Split:
        if known is not None:
            array = open_whole(known, name, described, len(split))
            return FeatureSplit(_tensor(array), split.labels, precision.device)
        parts = [part for _, part in blocks(model, split, precision, USED, instead)]
        return FeatureSplit(torch.from_numpy(np.concatenate(parts)), split.labels, precision.device)

    found = {
        name: features(name, split) for name, split in splits_of(data).items() if name != "test"
    }
    computed = 0 if known is not None else sum(len(split) for split in found.values())
    return replace(data, train=found["train"], validation=found.get("validation")), computed


def _tensor(array: Array) -> Tensor:
    """Return a mapping that is only read as a tensor, which PyTorch warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def trains_on_features(
    parameters: Parameters, method: str, model: nn.Module, data: Prepared
) -> bool:
    """Whether a run can take its backbone's outputs once, and train the head on them.

    The backbone is frozen, nothing is drawn of an image or mixed, the head is one linear layer, and
    nothing but the model looks at the images.
    """
    settings = parameters.train
    layer = last_module(model)
    return (
        settings.freeze == "backbone"
        and not settings.snapshots
        and not (settings.mixup or settings.cutmix)  # of images, not of what becomes of them
        and isinstance(layer, nn.Linear)
        and {id(weight) for weight in layer.parameters()}
        == {id(weight) for weight in model.parameters() if weight.requires_grad}
        and data.train.draw_views(1, torch.Generator()).shape[1] == 0
        # Which may score images by a model of its own.
        and "proxy_model" not in type(parameters.of_method(method)).model_fields
    )
