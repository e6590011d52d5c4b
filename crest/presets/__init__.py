"""Presets: ready-made set-ups, a YAML file each.

A file says what it ``builds_on``, if on another, and what differs. Of the keys in :data:`SET`,
which every preset sets, those that no file names are at their defaults.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from crest.errors import needs_extra

with needs_extra("pipeline"):
    import yaml

from crest.config import Parameters
from crest.errors import ParameterError
from crest.parameters.renamed import PRESETS as RENAMED
from crest.parameters.section import put, value_of

SET = {
    "prepare": (
        *("dataset", "source", "text_columns", "tokenizer", "max_length", "image_size", "classes"),
        "validation",
    ),
    "train": (
        *("model", "stem", "epochs", "budget", "batch_size", "optimizer", "lr", "momentum"),
        *("nesterov", "weight_decay", "schedule", "warmup", "clip_norm", "augment_crop"),
        *("augment_flip", "augment_scale", "augment_policy", "randaugment_operations"),
        *("randaugment_magnitude", "augment_color", "augment_hue", "augment_erasing", "mixup"),
        *("cutmix", "label_smoothing", "ema_decay", "threads", "snapshots"),
    ),
    "crest": (
        *("choice", "subset_size", "threshold", "interval_factor", "minibatch_factor"),
        *("subset_coresets", "selection", "outputs", "draw", "quadratic.parameters"),
        *("quadratic.order", "quadratic.loss", "gradient.source", "curvature.minibatches"),
        *("curvature.interval", "focus.exponent", "focus.floor", "focus.ceiling", "focus.until"),
        *("focus.weights", "learned.loss", "learned.window", "learned.floor"),
    ),
    "greedy": ("subset_size", "learned.floor"),
    "reuse": ("models",),
}


def presets() -> dict[str, dict[str, Any]]:
    """Return every preset by name: a ``description`` and the sections that it sets."""
    given = _files()
    return {name: _resolved(name, given) for name in given}


def preset(name: str) -> dict[str, Any]:
    """Return a preset; :class:`ParameterError` if there is none of that name."""
    known = presets()
    if name in RENAMED:
        raise ParameterError(f"preset: '{name}' is called '{RENAMED[name]}' now")
    if name not in known:
        raise ParameterError(f"preset: '{name}' is not one of {', '.join(known)}")
    return known[name]


def _files() -> dict[str, dict[str, Any]]:
    found = (entry for entry in files("crest.presets").iterdir() if entry.name.endswith(".yaml"))
    return {
        entry.name.removesuffix(".yaml"): yaml.safe_load(entry.read_text(encoding="utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name.removesuffix(".yaml"))
    }


def _resolved(name: str, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    own = dict(given[name])
    base = own.pop("builds_on", None)
    start = _defaults() if base is None else _resolved(base, given)
    return merged(start, own)


def _defaults() -> dict[str, Any]:
    defaults = Parameters()
    values: dict[str, Any] = {"description": ""}
    for section, keys in SET.items():
        for key in keys:
            value = value_of(getattr(defaults, section), key)
            put(values, f"{section}.{key}", list(value) if isinstance(value, tuple) else value)
    return values


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with some of them changed, sections and groups key by key."""
    result = dict(values)
    for name, change in changes.items():
        own = result.get(name)
        result[name] = merged(own or {}, change) if isinstance(change, Mapping) else change
    return result
