"""What keys and values were once called: the old is refused with the new one's name."""

from collections.abc import Iterator, Mapping
from typing import Any

KEYS = {
    "train.methods": "run.methods",
    "train.launch": "run.launch",
    "train.process_timeout": "run.process_timeout",
    "train.save_interval": "run.save_interval",
    "crest.quadratic": "crest.quadratic.parameters",
    "crest.order": "crest.quadratic.order",
    "crest.region_loss": "crest.quadratic.loss",
    "crest.gradient": "crest.gradient.source",
    "crest.gradient_smoothing": "crest.gradient.smoothing",
    "crest.curvature_smoothing": "crest.curvature.smoothing",
    "crest.hutchinson_draws": "crest.curvature.hutchinson_draws",
    "crest.curvature_minibatches": "crest.curvature.minibatches",
    "crest.curvature_interval": "crest.curvature.interval",
    "crest.looks": "crest.outputs",
    "crest.focus": "crest.focus.exponent",
    "crest.focus_floor": "crest.focus.floor",
    "crest.focus_ceiling": "crest.focus.ceiling",
    "crest.focus_until": "crest.focus.until",
    "crest.focus_weights": "crest.focus.weights",
    "crest.learned_loss": "crest.learned.loss",
    "crest.learned_window": "crest.learned.window",
    "crest.learned_floor": "crest.learned.floor",
    "greedy.learned_loss": "greedy.learned.loss",
    "greedy.learned_window": "greedy.learned.window",
    "greedy.learned_floor": "greedy.learned.floor",
    "focused.focus": "focused.focus.exponent",
    "focused.focus_floor": "focused.focus.floor",
    "focused.focus_ceiling": "focused.focus.ceiling",
    "focused.focus_until": "focused.focus.until",
    "glister.rounds": "glister.gradient_updates",
}

_DRAWS = {
    "rounds": "without_replacement",
    "stratified_rounds": "stratified_without_replacement",
}
# Of keys by their new names.
VALUES = {
    "crest.choice": {"balanced": "spatially_balanced"},
    "greedy.choice": {"balanced": "spatially_balanced"},
    "crest.selection": {"as_used": "on_demand"},
    "crest.draw": _DRAWS,
    "focused.draw": _DRAWS,
}

PRESETS = {"cifar10-resnet20-focused": "cifar10-resnet20-economical"}


def old_names(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what goes by an old name among sections: its key, and what to write instead."""
    for section, keys in values.items():
        if not isinstance(keys, Mapping):
            continue
        for name, value in keys.items():
            key = f"{section}.{name}"
            new = KEYS.get(key)
            if new is not None and not (new.startswith(f"{key}.") and isinstance(value, Mapping)):
                yield key, f"is called '{new}' now"
            elif isinstance(value, str) and value in VALUES.get(key, {}):
                yield key, f"'{value}' is called '{VALUES[key][value]}' now"
