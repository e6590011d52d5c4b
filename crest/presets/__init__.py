"""Presets: ready-made set-ups, a YAML file each."""

from importlib.resources import files
from typing import Any

from crest.errors import needs_extra

with needs_extra("pipeline"):
    import yaml


def presets() -> dict[str, dict[str, Any]]:
    """Return every preset by name: a ``description`` and the sections that it sets."""
    found = (entry for entry in files("crest.presets").iterdir() if entry.name.endswith(".yaml"))
    return {
        entry.name.removesuffix(".yaml"): yaml.safe_load(entry.read_text(encoding="utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name.removesuffix(".yaml"))
    }
