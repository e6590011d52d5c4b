"""A text model's folder, checked before transformers is asked to read it.

Whatever is read from it lies in it, as a plain file: its description, which asks for no more than
the machine has, and its weights, as safetensors.
"""

import json
import math
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors

from crest.devices.machine import memory, readable
from crest.errors import ParameterError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"

MOST_JSON = 64 * 2**20  # bytes; the largest description known, of a million labels, has half
DEPTH = 32  # of a description; those known have 4
MOST_LAYERS = 1000  # the deepest models known have some 200
MOST_LABELS = 100_000  # of which transformers makes a table of texts
MOST = 2**31 - 1  # of any size or count
FLOATS = ("F64", "F32", "F16", "BF16")
LAYERS = re.compile(r"(^|_)(n_?layers?|layers|depths?|num_blocks|num_stages)(_|$)")
SIZES = re.compile(r"size|num_|^n_|dim|layers|heads|embeddings|positions|inner|length|width|depth")
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_seq_length", "n_ctx")
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")


def check_folder(folder: Path) -> dict[str, Any]:
    """Return the description of a model's folder, after whatever is to be read was checked.

    Raises
    ------
    ParameterError
        If a file is missing, leads out of the folder, is no plain file or is damaged, or if the
        description asks for what cannot be built.
    """
    values = describe(folder)
    if (folder / ADAPTER).exists():
        raise _unusable(
            folder / ADAPTER, "an adapter of PEFT", "merge it into its model and save that"
        )
    for path in _weights_of(folder, values):
        _check_weights(path)
    return values


def describe(folder: Path, key: str = "train.model") -> dict[str, Any]:
    """Return the description of a model's folder, as :func:`check_description` lets it pass.

    Parameters
    ----------
    key
        The parameter that names the folder, for messages.
    """
    try:
        values = read_json(_inside(folder, CONFIG))
        check_description(values, str(folder))
    except ParameterError as error:
        raise ParameterError(str(error).replace("train.model", key, 1)) from None
    return values


def check_description(values: Mapping[str, Any], name: str) -> None:
    """Refuse a model's description that asks for what cannot be built or trained.

    Parameters
    ----------
    name
        The model's, for messages.
    """
    if values.get("quantization_config"):
        raise ParameterError(
            f"train.model: {name} is quantised (quantization_config), and such weights cannot be "
            "trained; name the model that it was made from"
        )
    for key, value in _numbers(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise _absurd(name, key, value)
        if SIZES.search(key) and abs(value) > MOST:
            raise _absurd(name, key, value)
        if LAYERS.search(key) and not 0 <= value <= MOST_LAYERS:
            raise _absurd(name, key, value)
    labels = values.get("num_labels", 0)
    if isinstance(labels, int) and labels > MOST_LABELS:
        raise _absurd(name, "num_labels", labels)
    # Some make tables of positions whatever else they are made of.
    tables = 8 * _largest(values, POSITIONS) * _largest(values, WIDTHS)
    require_memory(tables, name)


def require_memory(taken: int, name: str) -> None:
    """Refuse a model whose weights take more bytes than the machine has."""
    if taken > memory():
        raise ParameterError(
            f"train.model: {name} would take {readable(taken)} for its weights alone, and there "
            f"are {readable(memory())} of memory here; use a smaller model, or correct its "
            f"{CONFIG}"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds."""
    size = path.stat().st_size
    if size > MOST_JSON:
        raise _unusable(path, f"{readable(size)} of description", "name another model")
    try:
        found = json.loads(path.read_bytes())
    except RecursionError:
        raise _unusable(path, "nested without end", "correct it") from None
    except ValueError as error:
        raise _unusable(path, f"no JSON ({error})", "correct it") from None
    if not isinstance(found, dict):
        raise _unusable(path, "no object of names and values", "correct it")
    if _depth(found) > DEPTH:
        raise _unusable(path, f"nested more than {DEPTH} deep", "correct it")
    return found


def _weights_of(folder: Path, values: Mapping[str, Any]) -> list[Path]:
    """Return the files of weights that transformers would read."""
    name = values.get("transformers_weights")
    if name is None:
        name = INDEX if not (folder / WEIGHTS).exists() and (folder / INDEX).exists() else WEIGHTS
    path = _inside(folder, name)
    if not path.name.endswith(".json"):
        return [path]
    index = read_json(path)
    files = index.get("weight_map")
    if not isinstance(files, dict) or not files or not isinstance(index.get("metadata"), dict):
        raise _unusable(path, "no index of weights (metadata, weight_map)", "correct it")
    names = sorted({str(file) for file in files.values()})
    return [_inside(folder, file) for file in names]


def _inside(folder: Path, name: Any) -> Path:
    """Return a plain file of the folder itself."""
    plain = isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name
    if not plain:
        raise ParameterError(
            f"train.model: {folder}: names {name!r:.80} as a file, which would lead out of the "
            "folder; correct it, and put all files beside config.json"
        )
    path = folder / name
    if name != CONFIG and not name.endswith((".safetensors", ".safetensors.index.json")):
        raise _unusable(path, "no .safetensors file", "save the weights as safetensors")
    try:
        target = path.resolve(strict=True)
        kind = target.stat()
    except (OSError, RuntimeError, ValueError):
        hint = ""
        if name == WEIGHTS and list(folder.glob("*.bin")):
            hint = "; its .bin files are pickles, which are not read: save it as safetensors"
        raise ParameterError(
            f"train.model: {path}: no such file; name a folder with {CONFIG} and {WEIGHTS}{hint}"
        ) from None
    if not stat.S_ISREG(kind.st_mode):
        raise _unusable(path, "no plain file", "put the file itself there")
    if not _may_lead_to(folder, target):
        raise _unusable(path, f"a link out of the folder, to {target}", "put the file itself there")
    return path


def _may_lead_to(folder: Path, target: Path) -> bool:
    """Whether a file lies in the folder, or in the store of the hub's cache that it is part of."""
    place = folder.resolve()
    if target.parent == place:
        return True
    in_cache = place.parent.name == "snapshots" and place.parent.parent.name.startswith("models--")
    return in_cache and target.parent == place.parent.parent / "blobs"


def _check_weights(path: Path) -> None:
    """Refuse a file that is no safetensors file, by its head."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            quantised = [
                name
                for name in file.keys()  # noqa: SIM118
                if name.endswith("weight") and file.get_slice(name).get_dtype() not in FLOATS
            ]
    except (OSError, safetensors.SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ParameterError(
            f"train.model: {path}: not a safetensors file, or cut short or damaged ({reason}); "
            "copy or download it again"
        ) from None
    if quantised:
        raise _unusable(
            path,
            f"holds weights that are no floating-point numbers of 16 bits or more ({quantised[0]})",
            "name the model that it was made from, which can be trained",
        )


def _numbers(values: Any, key: str = "") -> Iterator[tuple[str, int | float]]:
    """Yield every number of a description with its key; those of lists have the list's."""
    if isinstance(values, bool):
        return
    if isinstance(values, int | float):
        yield key, values
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from _numbers(value, str(name))
    elif isinstance(values, list):
        for value in values:
            yield from _numbers(value, key)


def _largest(values: Mapping[str, Any], names: tuple[str, ...]) -> int:
    found = [values.get(name) for name in names]
    return max((value for value in found if isinstance(value, int)), default=0)


def _depth(values: Any) -> int:
    """Return how deep an object is nested, without recursion."""
    level, depth = [values], 0
    while level:
        depth += 1
        level = [
            part
            for value in level
            if isinstance(value, dict | list)
            for part in (value.values() if isinstance(value, dict) else value)
        ]
    return depth - 1


def _absurd(name: str, key: str, value: float) -> ParameterError:
    return ParameterError(
        f"train.model: {name}: its {CONFIG} says {key}: {value:.3g}, which no model can have; "
        "correct it"
    )


def _unusable(path: Path, what: str, advice: str) -> ParameterError:
    return ParameterError(f"train.model: {path}: {what}; {advice}")
