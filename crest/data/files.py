"""Prepared data on disk: one layout for every source. Nothing here takes the time to import torch.

A folder holds, for each split (``train``, ``validation``, ``test``; validation may be absent),
``SPLIT_images.npy`` (uint8, N×H×W×C) and ``SPLIT_labels.npy`` (int64, N), and ``meta.json``, the
:class:`Meta` of the data.
"""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from crest.errors import ArtifactError

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Meta:
    """What prepared data is and where it came from; meta.json holds exactly these fields.

    ``mean`` and ``std`` are per channel, of the training split, on the scale 0 to 1;
    ``content_hash`` is a SHA-256 over all arrays in the order of their names.
    """

    schema_version: int
    kind: str
    dataset: str
    source: str
    sizes: dict[str, int]
    classes: list[str]
    image_shape: list[int]
    mean: list[float]
    std: list[float]
    content_hash: str


def read_meta(folder: Path) -> Meta:
    """Read meta.json; raises :class:`ArtifactError` if it is absent, damaged or another version."""
    path = folder / "meta.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: no prepared data here; run `python cli.py prepare` first"
        ) from None
    except (OSError, ValueError) as error:
        raise damaged(path, str(error)) from None
    if not isinstance(values, dict):
        raise damaged(path, "it holds no JSON object")
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: schema version {version}, this code reads {SCHEMA_VERSION}; "
            "run `python cli.py prepare` again"
        )
    names = {field.name for field in fields(Meta)}
    if values.keys() != names:
        raise damaged(path, f"lacking or not known: {', '.join(sorted(values.keys() ^ names))}")
    meta = Meta(**values)
    if not _is_whole(meta):
        raise damaged(path, "its fields contradict each other")
    return meta


def damaged(path: Path, reason: str) -> ArtifactError:
    """Return the error for a file that cannot be what it should."""
    return ArtifactError(f"{path}: damaged ({reason}); run `python cli.py prepare` again")


def _is_whole(meta: Meta) -> bool:
    """Whether splits, classes, shape and channels are all there and agree."""
    try:
        height, width, channels = meta.image_shape
        known = meta.sizes.keys() <= set(SPLITS)
        numbers = [height, width, channels, *(meta.sizes[name] for name in ("train", "test"))]
        numbers += meta.sizes.values()
        usable = all(map(math.isfinite, (*meta.mean, *meta.std))) and min(meta.std) > 0
    except (TypeError, ValueError, KeyError, AttributeError):
        return False
    positive = all(isinstance(number, int) and number > 0 for number in numbers)
    named = isinstance(meta.classes, list) and len(meta.classes) > 1
    return known and positive and named and usable and len(meta.mean) == len(meta.std) == channels


def write_meta(folder: Path, meta: Meta) -> None:
    """Write meta.json."""
    text = json.dumps(asdict(meta), indent=2, ensure_ascii=False)
    (folder / "meta.json").write_text(text + "\n", encoding="utf-8")


def open_array(folder: Path, split: str, name: str) -> np.ndarray[Any, Any]:
    """Map ``SPLIT_NAME.npy`` without loading it; copy-on-write, so that torch may wrap it."""
    path = folder / f"{split}_{name}.npy"
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run `python cli.py prepare` again") from None
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, str(error)) from None
