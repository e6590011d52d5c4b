"""A model's weights on disk: one safetensors file that also says which model they are for."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from crest.artifacts import cannot_be_read, seals
from crest.artifacts.tensors import UNREADABLE, are_whole, write_tensors
from crest.errors import ArtifactError, ParameterError
from crest.models import SPECS, Spec

SCHEMA_VERSION = 1
AGAIN = "train it again, or name another file"


def save(model: nn.Module, spec: Spec, path: Path) -> None:
    """Write the weights and buffers, floating ones as float32, and the spec.

    The file appears whole or not at all.

    Raises
    ------
    ArtifactError
        If the file cannot be written.
    """
    tensors = {name: _to_store(tensor) for name, tensor in model.state_dict().items()}
    write_tensors(path, tensors, _metadata(spec))


def read_spec(path: Path) -> Spec:
    """Return which model a file of :func:`save` holds, without reading its weights.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, or does not say which model it holds.
    """
    return _spec(path, _read_metadata(path))


def load_model(path: Path, spec: Spec | None = None) -> tuple[nn.Module, Spec]:
    """Return the model that a file holds, on the CPU and in train mode, and its spec.

    Parameters
    ----------
    path
        A file of :func:`save`, or with ``spec`` any safetensors file with such a model's weights.
    spec
        Which model it is, where the file does not say; where it does, the two must agree.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, or holds another model.
    """
    metadata = _read_metadata(path)
    if spec is None or "schema_version" in metadata:
        spec = _agreed(path, _spec(path, metadata), spec)
    try:
        model = spec.empty()
    except ParameterError as error:
        raise ArtifactError(f"{path}: holds a model that cannot be built: {error}") from None
    _copy(path, _read_tensors(path), model)
    return model, spec


def load_into(model: nn.Module, path: Path, spec: Spec | None = None) -> None:
    """Copy the weights of a file into a model, which keeps its device, layout and types.

    Parameters
    ----------
    model
        Changed in place, and only if the whole file fits.
    path
        A safetensors file with one tensor for each of the model's weights and buffers.
    spec
        What ``model`` was built from; a file that says it holds another model is refused.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, or holds another model.
    """
    metadata = _read_metadata(path)
    if spec is not None and "schema_version" in metadata:
        _agreed(path, _spec(path, metadata), spec)
    _copy(path, _read_tensors(path), model)


def digest(model: nn.Module) -> str:
    """SHA-256 over the names and values of all weights and buffers."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(_to_store(tensor).numpy().tobytes())
    return found.hexdigest()


def _to_store(tensor: Tensor) -> Tensor:
    """Return a copy for the file: on the CPU, in the standard layout, float32 if floating."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    # Always a copy, for safetensors takes no two tensors that share memory.
    return tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)


def _metadata(spec: Spec) -> dict[str, str]:
    """Return the spec as safetensors stores it: text to text."""
    return {"schema_version": str(SCHEMA_VERSION), **spec.metadata()}


def _spec(path: Path, metadata: Mapping[str, str]) -> Spec:
    """Return the spec that :func:`_metadata` stored."""
    if "schema_version" not in metadata:
        raise ArtifactError(
            f"{path}: a safetensors file that does not say which model it holds; pass the model's "
            "spec with it, or use a file that train wrote"
        )
    version = metadata["schema_version"]
    if version != str(SCHEMA_VERSION):
        raise ArtifactError(
            f"{path}: written in version {version} of this format; this program reads "
            f"version {SCHEMA_VERSION}; {AGAIN}"
        )
    try:
        # Files of the first release hold images' models, and do not say so.
        return SPECS[metadata.get("kind", "image")].from_metadata(metadata)
    except (KeyError, TypeError, ValueError):
        raise ArtifactError(
            f"{path}: damaged: its description of the model makes no sense; {AGAIN}"
        ) from None


def _agreed(path: Path, found: Spec, expected: Spec | None) -> Spec:
    """Return what the file holds, if that is what is expected."""
    if expected is None or found == expected:
        return found
    raise ArtifactError(f"{path}: holds {found}, not {expected}; {AGAIN}")


def _read_metadata(path: Path) -> dict[str, str]:
    """Return the text pairs in a safetensors file's head, none if it has none.

    All of the file is held against its checksum; one of another program has none.
    """
    _check_file(path)
    if are_whole(path) is False:
        raise _unreadable(path, f"its content is not that of its checksum, {seals.KEY} in its head")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return {name: text for name, text in metadata.items() if name != seals.KEY}
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file, on the CPU."""
    try:
        return safetensors.torch.load_file(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def _check_file(path: Path) -> None:
    """Refuse a path with no file behind it."""
    try:
        path.stat()
    except PermissionError as error:
        raise cannot_be_read(path, error) from None
    except (OSError, ValueError):
        raise ArtifactError(
            f"{path}: no such file; train writes artifacts/train/METHOD/model.safetensors: {AGAIN}"
        ) from None
    if path.is_dir():
        raise ArtifactError(f"{path}: is a folder; name the model.safetensors in it")


def _unreadable(path: Path, error: Exception | str) -> ArtifactError:
    """Return the error for a file that is no safetensors file."""
    return ArtifactError(
        f"{path}: not a safetensors file, or cut short or damaged ({error}); {AGAIN}"
    )


def _copy(path: Path, tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    """Copy tensors into the model's of the same names, after all of them were found to fit."""
    targets = model.state_dict()
    misfits = _misfits(tensors, targets)
    if misfits:
        more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise ArtifactError(
            f"{path}: holds another model than this {type(model).__name__}: "
            f"{'; '.join(misfits[:3])}{more}; {AGAIN}"
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ArtifactError(f"{path}: {name} is not all finite numbers; {AGAIN}")
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(tensors[name])


def _misfits(tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> list[str]:
    """Say how a file's tensors differ from a model's, one text a tensor."""
    shared = [name for name in targets if name in tensors]
    return [
        *(
            f"{name} is {_shape(tensors[name])} in the file, {_shape(targets[name])} in the model"
            for name in shared
            if tensors[name].shape != targets[name].shape
        ),
        *(f"{name} is not in the file" for name in targets if name not in tensors),
        *(f"{name} is not in the model" for name in tensors if name not in targets),
    ]


def _shape(tensor: Tensor) -> str:
    """Return a tensor's shape in words."""
    return " x ".join(str(size) for size in tensor.shape) or "a single number"
