"""The parameters with which `prepare` reads an export, whatever params.yaml says."""

import json
import shlex
from typing import Any

from crest.data.files import Meta, TextMeta
from crest.files.yaml_text import NotYAMLError, parse_yaml


def read_by(meta: Meta, out: str, label_column: str) -> dict[str, str]:
    """Return every parameter that matters, in YAML, by its full key.

    The splits are those of the export: nothing is held out, and a validation split is taken whole.
    """
    validation = "validation" if "validation" in meta.sizes else None
    values: dict[str, Any] = {
        "dataset": "parquet",
        "source": out,
        "image_column": "image",
        "label_column": label_column,
        "split_column": None,
        "train_split": "train",
        "test_split": "test",
        "validation_split": validation,
        "text_columns": None,
        "tokenizer": None,
        "max_length": None,
        "classes": None,
        "image_size": None,
        "fit": "crop",
        "storage": None,
        "encoded_side": None,
        "test_share": None,
        "validation": 0.0,
    }
    if isinstance(meta, TextMeta):
        values |= {
            "dataset": "text",
            "image_column": None,
            "text_columns": meta.text_columns,
            "tokenizer": meta.tokenizer,
            "max_length": meta.max_length,
            "workers": None,  # which texts have no use for
        }
        del values["fit"]
    else:
        del values["max_length"]
        values |= {"storage": meta.storage, "fit": meta.fit}
        height, width, _ = meta.image_shape
        if meta.storage == "encoded" and height == width:
            values["image_size"] = height
    return {f"prepare.{key}": as_yaml(value) for key, value in values.items()}


def options(overrides: dict[str, str]) -> str:
    """Return them as a shell takes them."""
    return " ".join(f"-S {shlex.quote(f'{key}={value}')}" for key, value in overrides.items())


def as_yaml(value: Any) -> str:
    """Write a value in a line of YAML, a text without quotes where it is read as itself."""
    if isinstance(value, str) and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    try:
        return bool(parse_yaml(text) == text)
    except NotYAMLError:
        return False
