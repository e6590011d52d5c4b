"""JSON files of a run, written whole and read with a message for whatever is wrong."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crest.artifacts.failures import cannot_be_read
from crest.artifacts.replacement import replacing
from crest.errors import ArtifactError


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object; numbers that JSON has no word for are a :class:`ValueError`."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    ArtifactError
        If it is missing, unreadable or damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: no such file; it is written by the stage before this one"
        ) from None
    except OSError as error:
        raise cannot_be_read(path, error) from None
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged JSON ({error}); make it again") from None
    if not isinstance(values, dict):
        raise ArtifactError(f"{path}: must hold a JSON object")
    return values
