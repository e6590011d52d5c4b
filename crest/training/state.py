"""The state of a run on disk: everything it takes to go on as if it had never stopped.

A state is a tree of dictionaries and lists whose leaves are tensors, numbers, strings, booleans and
None. It is one safetensors file: the tensors, and the rest of the tree as JSON beside them, so that
nothing is ever unpickled.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from crest.artifacts import sweep
from crest.artifacts.tensors import UNREADABLE, are_whole, write_tensors
from crest.errors import ArtifactError

State = dict[str, Any]

PREFIX, SUFFIX = "step_", ".safetensors"  # of snapshots, around a number of steps

# A save waits until the run has gone on this many times as long as the last save took: saving then
# costs at most 1% of a run, whatever the interval.
SAVE_AT_MOST_EVERY = 100.0


# Files that are named, of those that have changed since a state was saved.
MOST_FILES = 3


class Checkpoint:
    """A file that holds the state of one run, saved now and then and removed when the run is done.

    With it goes the folder ``snapshots`` beside it (:mod:`crest.training.snapshots`).

    Parameters
    ----------
    path
        The file.
    key
        What the state depends on, a short text for each thing; a state of another key is refused.
    interval
        Seconds between saves.
    stop
        Returns the number of the signal that asks the run to stop, 0 if there was none.
    writes
        False for one that only reads: of several processes one writes.
    code
        Returns what the state depends on besides ``key``, and is asked when there is a state to
        write or to read: it takes a while, and most runs are done before their first save.
    """

    def __init__(
        self,
        path: Path,
        key: Mapping[str, str],
        interval: float,
        stop: Callable[[], int] = lambda: 0,
        writes: bool = True,
        code: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.path = path
        self.snapshots = path.with_suffix(".snapshots")
        self.stop = stop
        self.seconds = 0.0
        self.saves = 0
        self.settings = dict(key)
        self._code = code
        self._writes = writes
        self._interval = interval
        self._wait = interval
        self._saved_at = time.monotonic()

    @cached_property
    def key(self) -> dict[str, str]:
        """Everything that the state depends on, the code with the settings."""
        return {**self.settings, **self._code()}

    def due(self) -> bool:
        """Whether it is time for the next save."""
        return self._writes and time.monotonic() - self._saved_at >= self._wait

    def save(self, state: State) -> None:
        """Write the state, whole or not at all."""
        if not self._writes:
            return
        started = time.monotonic()
        write_state(self.path, self.key, state)
        self._saved_at = time.monotonic()
        took = self._saved_at - started
        self._wait = max(self._interval, SAVE_AT_MOST_EVERY * took)
        self.seconds += took
        self.saves += 1

    def restore(self) -> State | None:
        """Return the saved state, None if there is none.

        Raises
        ------
        ArtifactError
            If the file is damaged, or holds the state of another run.
        """
        if self._writes:
            sweep(self.path)
        if not self.path.exists():
            return None
        return read_state(self.path, self.key)

    def remove(self) -> None:
        """Remove the state of a run that is done, and its snapshots."""
        if not self._writes:
            return
        self.path.unlink(missing_ok=True)
        sweep(self.path)
        remove_snapshots(self.snapshots)


def remove_snapshots(folder: Path) -> None:
    """Remove the snapshots in a folder, and the folder unless it holds anything else."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        path.unlink()
    for path in folder.glob(f".{PREFIX}*.partial"):  # of a run that was killed
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f".{PREFIX}*.lock"):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def write_state(path: Path, key: Mapping[str, str], state: State) -> None:
    """Write a state under its key."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_without_tensors(state, tensors, set()))
    metadata = {"key": json.dumps(dict(key)), "tree": tree}
    # Under its own name even when nothing else is: safetensors takes no file without a tensor.
    tensors["end"] = torch.zeros(1)
    write_tensors(path, tensors, metadata)


def read_state(path: Path, key: Mapping[str, str]) -> State:
    """Read a state and check that it is of ``key``.

    Raises
    ------
    ArtifactError
        If the file is damaged, or of another key; the message names what differs.
    """
    whole = are_whole(path)
    if whole is False:
        raise _damaged(path, "its checksum is another than when it was written")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            # Copies, laid out in memory as torch does: sums of a tensor that starts elsewhere are
            # added up in another order, and the run would not end the same bit for bit.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        found, tree = dict(json.loads(metadata["key"])), json.loads(metadata["tree"])
    except UNREADABLE as error:
        raise _damaged(path, str(error)) from None
    different = [name for name in {**found, **key} if found.get(name) != key.get(name)]
    if different:
        differences = ", ".join(
            _difference(name, found.get(name), key.get(name)) for name in different
        )
        raise ArtifactError(
            f"{path}: the saved state is of an unfinished run with other {differences}; "
            f"set back what changed to finish it, or {start_afresh(path)}"
        )
    if whole is None:
        raise _damaged(path, "it has no checksum")
    state = _with_tensors(tree, tensors)
    assert isinstance(state, dict)
    return state


def _difference(name: str, then: str | None, now: str | None) -> str:
    """Name what differs, with its values where a person does not set it and cannot find it out."""
    if name == "processor":
        return f"{name}, which rounds otherwise ({then} then, {now} now)"
    if name == "code" and (files := _changed_files(then, now)):
        printed, more = files[:MOST_FILES], len(files) - MOST_FILES
        return f"{name} ({', '.join(printed)}{f' and {more} more' if more > 0 else ''})"
    return name


def _changed_files(then: str | None, now: str | None) -> list[str]:
    """Return the files of which two hashes differ; none if they are not hashes of files."""
    try:
        before, after = (dict(json.loads(text or "null")) for text in (then, now))
    except (TypeError, ValueError):
        return []
    return sorted(path for path in {**before, **after} if before.get(path) != after.get(path))


def _damaged(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: the saved state of an unfinished run is damaged ({reason}); {start_afresh(path)}"
    )


def start_afresh(path: Path) -> str:
    """Say how a run whose state or snapshots lie at ``path`` is started from its beginning."""
    beginnings = {part.partition("-")[0] for part in path.parts[-2:]}
    command = next((name for name in ("reuse", "repeat") if name in beginnings), "train")
    return f"to start afresh, run `python cli.py {command} --fresh` or remove the file"


def _without_tensors(value: Any, tensors: dict[str, Tensor], taken: set[int]) -> Any:
    """Replace each tensor of a tree by its place in ``tensors``; ``taken``: where memory begins."""
    if isinstance(value, Tensor):
        place = str(len(tensors))
        whole = value.detach().cpu().contiguous()
        # safetensors takes no tensors that share memory; others are written from where they are.
        if (begin := whole.untyped_storage().data_ptr()) in taken:
            whole = whole.clone()
        taken.add(begin)
        tensors[place] = whole
        return {"tensor": place}
    if isinstance(value, dict):
        items = {key: _without_tensors(item, tensors, taken) for key, item in value.items()}
        return {"dict": items}
    if isinstance(value, list):
        return {"list": [_without_tensors(item, tensors, taken) for item in value]}
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "list":
        return [_with_tensors(item, tensors) for item in inside]
    return {key: _with_tensors(item, tensors) for key, item in inside.items()}


def model_state(model: nn.Module) -> State:
    """Return the weights and buffers of a model."""
    return dict(model.state_dict())


def load_model_state(model: nn.Module, state: State) -> None:
    """Copy weights and buffers into a model, whose memory layout stays."""
    model.load_state_dict(state)


def optimizer_state(optimizer: Optimizer) -> State:
    """Return what an optimiser remembers of each parameter, by the parameter's place."""
    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    return {
        str(place): dict(optimizer.state[parameter])
        for place, parameter in enumerate(parameters)
        if parameter in optimizer.state
    }


def load_optimizer_state(optimizer: Optimizer, state: State) -> None:
    """Give an optimiser back what it remembered, each tensor laid out like its parameter."""
    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    for place, remembered in state.items():
        parameter = parameters[int(place)]
        optimizer.state[parameter] = {
            name: _like(value, parameter) if isinstance(value, Tensor) else value
            for name, value in remembered.items()
        }


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Lay a tensor out like its parameter; the step count of Adam is a scalar on the CPU."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
