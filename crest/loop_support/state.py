"""The state of Coresets from outside: whole and of these arguments, or refused."""

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from crest.errors import ParameterError


def digest_of(state: Any) -> str:
    """Return a hash of a tree of dictionaries and lists of tensors, numbers and the like."""
    digest = hashlib.sha256()
    _include(state, digest)
    return digest.hexdigest()


def checked_state(state: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a saved state, its tensors on the CPU.

    Raises
    ------
    ParameterError
        If it is none, is damaged, or is of other settings; the message names them.
    """
    if not isinstance(state, Mapping) or not isinstance(state.get("settings", {}), Mapping):
        raise ParameterError(f"state: {type(state).__name__} is not what state_dict() returned")
    found = state.get("settings", {})
    different = [name for name, value in settings.items() if found.get(name) != value]
    if different:
        raise ParameterError(
            f"state: of Coresets with other {', '.join(different)}; load it into Coresets that "
            "are built as those were"
        )
    copy = {name: _on_cpu(state.get(name)) for name in ("settings", "rows", "method", "ahead")}
    if digest_of(copy) != state.get("digest"):
        raise ParameterError(
            "state: damaged, or of another version: its contents are not those that state_dict() "
            "returned; load an earlier one, or begin afresh"
        )
    return copy


def _include(value: Any, digest: Any) -> None:
    """Take a tree into a hash, the kind of each part with it."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
        # A copy: as bytes a view needs its numbers one behind the other.
        flat = plain.reshape(-1).clone(memory_format=torch.contiguous_format)
        digest.update(flat.view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)}".encode())
        for name, inside in value.items():
            digest.update(f"{name!r}:".encode())
            _include(inside, digest)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)}".encode())
        for inside in value:
            _include(inside, digest)
    else:
        digest.update(f"{value!r};".encode())


def _on_cpu(value: Any) -> Any:
    """Copy a tree, with its tensors on the CPU, where generators and indices are."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: _on_cpu(inside) for name, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_on_cpu(inside) for inside in value]
    return deepcopy(value)
