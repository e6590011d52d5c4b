"""Options of Coresets: the parameters of the method that was chosen, and of no other."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import numpy as np

from crest.data.given import whole_number
from crest.errors import DivergedError, OrderError, ParameterError, TrainingError
from crest.parameters.sections import CrestOptions, Parameters, parse


class Options(CrestOptions, total=False):
    """Keyword arguments of Coresets, for editors and checkers.

    Those of the chosen method stand alone; those of several methods go by the methods' names, as
    the sections of params.yaml.
    """

    factor: float
    coreset_size: float | int
    passes: int
    per_class: bool
    group_size: int
    regularisation: float
    validation: float
    rounds: int
    step_size: float

    full: Mapping[str, Any]
    random: Mapping[str, Any]
    crest: CrestOptions
    sgd: Mapping[str, Any]
    large: Mapping[str, Any]
    stratified: Mapping[str, Any]
    focused: Mapping[str, Any]
    greedy: Mapping[str, Any]
    craig: Mapping[str, Any]
    gradmatch: Mapping[str, Any]
    glister: Mapping[str, Any]


def focused(batch_size: int) -> CrestOptions:
    """Return the options of crest that pay: a focus on what is not learned, a share for each class.

    Those of the preset cifar10-resnet20-focused, for mini-batches of ``batch_size``: what the model
    said of each mini-batch is remembered, so that :meth:`crest.Coresets.step` needs the logits.
    """
    return {
        "choice": "balanced",
        "subset_size": 4 * batch_size,
        "interval_factor": 40.0,
        "selection": "as_used",
        "looks": "remembered",
        "draw": "stratified_rounds",
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
        raise ParameterError(f"method: {method!r} is not one of {', '.join(methods)}")
    train = {
        "batch_size": whole_number(batch_size, "batch_size", 1),
        "seed": whole_number(seed, "seed", 0),
        "precision": precision,
    }
    sections = _sections(method, methods, options)
    with named_as_arguments(method):
        parameters = parse({"train": train, **sections}, "Coresets")
    return whole_number(steps, "steps", 1), parameters


def own_section(parameters: Parameters, method: str) -> dict[str, Any]:
    """Return what a method's parameters are set to; nothing of a method that has none."""
    section = getattr(parameters, method, None)
    return {} if section is None else section.model_dump()


@contextmanager
def named_as_arguments(method: str) -> Iterator[None]:
    """Call parameters in errors what the arguments are called: without a section's name."""
    try:
        yield
    except DivergedError as error:
        raise TrainingError(f"{error.what}; lower the learning rate, or train in float32") from None
    except (OrderError, ParameterError, TrainingError) as error:
        text = re.sub(rf"\b({re.escape(method)}|train)\.(?=[a-z_]+\b(?!\())", "", str(error))
        raise type(error)(text) from None


def _sections(
    method: str, methods: Mapping[str, object], options: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Sort options into sections, each of one method's parameters."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if name in methods and isinstance(value, Mapping):
            for key in value:
                _check_name(key, name)
            sections.setdefault(name, {}).update({key: _plain(own) for key, own in value.items()})
    for name, value in options.items():
        if name in sections:
            continue
        if name in methods:
            raise ParameterError(
                f"{name}: must hold that method's options by name, such as "
                f"{name}={{...}}, not {value!r:.60}"
            )
        _check_name(name, method)
        if name in sections.get(method, {}):
            raise ParameterError(f"{name}: given by itself and in {method} as well; leave one out")
        sections.setdefault(method, {})[name] = _plain(value)
    return sections


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _check_name(name: Any, method: str) -> None:
    """Refuse an option that a method does not use."""
    own = _options_of(method)
    if name in own:
        return
    if close := get_close_matches(str(name), own, n=1):
        raise ParameterError(
            f"{name}: '{method}' has no such option; did you mean '{close[0]}'? {_listed(own)}"
        )
    users = [other for other in Parameters.model_fields if name in _options_of(other)]
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
    field = Parameters.model_fields.get(method)
    if field is None or method in ("replay", *NO_METHODS):
        return []
    return list(type(field.default).model_fields)


# Sections of params.yaml that are of stages.
NO_METHODS = ("prepare", "train", "evaluate", "analyze", "reuse", "report")
