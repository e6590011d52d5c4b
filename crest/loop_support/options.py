"""Options of Coresets: the parameters of the method that was chosen, and of no other."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from crest.config import Parameters, parse
from crest.data.given import whole_number
from crest.errors import (
    DivergedError,
    OrderError,
    ParameterError,
    TrainingError,
    nearest,
    not_one_of,
)
from crest.loop_support.option_types import CrestOptions
from crest.methods import METHODS
from crest.parameters.renamed import KEYS
from crest.parameters.section import nested, options_of


def economical(batch_size: int) -> CrestOptions:
    """Return the options of crest that pay: a focus on what is not learned, a share for each class.

    Those of the preset cifar10-resnet20-economical, for mini-batches of ``batch_size``: the outputs
    of each mini-batch are remembered, so that :meth:`crest.Coresets.step` needs the logits.
    """
    return {
        "choice": "spatially_stratified",
        "subset_size": 4 * batch_size,
        "interval_factor": 40.0,
        "selection": "on_demand",
        "outputs": "remembered",
        "draw": "stratified_without_replacement",
        "focus": 0.5,
        "focus_until": 0.85,
        "subset_coresets": 4,
        "curvature_minibatches": 5,
        "curvature_interval": 2000,
        "gradient": "training",
        "region_loss": "filtered",
    }


def parameters_of(
    method: str,
    methods: Mapping[str, object],
    steps: int,
    batch_size: int,
    seed: int,
    precision: str,
    options: Mapping[str, Any],
) -> tuple[int, Parameters]:
    """Check the arguments that need no data; returns the steps and the parameters.

    Raises
    ------
    ParameterError
        If one is unknown, out of range, or an option that the method does not use.
    """
    if not isinstance(method, str) or method not in methods:
        raise ParameterError(f"method: {not_one_of(method, methods)}")
    train = {
        "batch_size": whole_number(batch_size, "batch_size", 1),
        "seed": whole_number(seed, "seed", 0),
        "precision": precision,
    }
    sections = _sections(method, methods, options)
    with named_as_arguments(method):
        parameters = parse({"train": train, **sections}, "Coresets")
    return whole_number(steps, "steps", 1), parameters


@contextmanager
def named_as_arguments(method: str) -> Iterator[None]:
    """Call parameters in errors what the arguments are called: without a section's name."""
    try:
        yield
    except DivergedError as error:
        raise TrainingError(f"{error.what}; lower the learning rate, or train in float32") from None
    except (OrderError, ParameterError, TrainingError) as error:
        raise type(error)(_without_sections(str(error), method)) from None


def _without_sections(text: str, method: str) -> str:
    """Put what an option is called where a key of params.yaml stands."""
    names = {place: name for name, place in options_of(METHODS[method].parameters).items()}
    for place in sorted(names, key=len, reverse=True):
        key = re.escape(f"{method}.{place}")
        text = re.sub(rf"\b{key}\b(?!\()", names[place], text)
    return re.sub(rf"\b({re.escape(method)}|train)\.(?=[a-z_]+\b(?!\())", "", text)


def _sections(
    method: str, methods: Mapping[str, object], options: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Sort options into sections, each of one method's parameters."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if name in methods and isinstance(value, Mapping):
            for key, own in value.items():
                _check_name(key, own, name)
            sections.setdefault(name, {}).update({key: _plain(own) for key, own in value.items()})
    for name, value in options.items():
        if name in sections:
            continue
        if name in methods:
            raise ParameterError(
                f"{name}: must hold that method's options by name, such as "
                f"{name}={{...}}, not {value!r:.60}"
            )
        _check_name(name, value, method)
        if name in sections.get(method, {}):
            raise ParameterError(f"{name}: given by itself and in {method} as well; leave one out")
        sections.setdefault(method, {})[name] = _plain(value)
    return {name: nested(METHODS[name].parameters, own) for name, own in sections.items()}


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    if isinstance(value, Mapping):
        return {key: _plain(own) for key, own in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _check_name(name: Any, value: Any, method: str) -> None:
    """Refuse an option that a method does not use."""
    own = _options_of(method)
    if name in own or (
        isinstance(value, Mapping) and name in METHODS[method].parameters.model_fields
    ):
        return
    if new := KEYS.get(f"{method}.{name}"):
        raise ParameterError(f"{name}: is called '{new.partition('.')[2]}' now")
    if hint := nearest(name, own):
        raise ParameterError(f"{name}: '{method}' has no such option{hint} {_listed(own)}")
    users = [other for other in METHODS if name in _options_of(other)]
    if users:
        raise ParameterError(
            f"{name}: '{method}' does not use it, {' and '.join(users)} "
            f"{'do' if len(users) > 1 else 'does'}. {_listed(own)}. To set options of several "
            f"methods, of which one is chosen, name the method: {users[0]}={{'{name}': ...}}"
        )
    hint = "; saved coresets go in as saved" if method == "replay" else ""
    raise ParameterError(f"{name}: '{method}' has no such option. {_listed(own)}{hint}")


def _listed(own: list[str]) -> str:
    return f"It has {', '.join(own)}" if own else "It has none"


def _options_of(method: str) -> list[str]:
    """Return the options of a method; of replay none, whose coresets are an argument."""
    return [] if method == "replay" else list(options_of(METHODS[method].parameters))
