"""Parameters: params.yaml as a whole, of stages and of methods.

An unknown key, a wrong type or a value out of range is a :class:`ParameterError` that names the
key.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError, create_model

from crest.errors import ParameterError
from crest.methods import METHODS
from crest.parameters.faults import explained
from crest.parameters.renamed import old_names
from crest.parameters.section import Section
from crest.parameters.sections import (
    AnalyzeParameters,
    EmbedParameters,
    EvaluateParameters,
    PrepareParameters,
    ReportParameters,
    ReuseParameters,
    RunParameters,
    TrainParameters,
)

Kind = TypeVar("Kind", bound=Section)


class StageParameters(Section):
    """The sections of stages, one field a section."""

    prepare: PrepareParameters = PrepareParameters()
    train: TrainParameters = TrainParameters()
    run: RunParameters = RunParameters()
    embed: EmbedParameters = EmbedParameters()
    evaluate: EvaluateParameters = EvaluateParameters()
    analyze: AnalyzeParameters = AnalyzeParameters()
    reuse: ReuseParameters = ReuseParameters()
    report: ReportParameters = ReportParameters()

    def of_method(self, method: str) -> Section:
        """Return the section of a method."""
        return getattr(self, method) if method in METHODS else Section()

    def of(self, kind: type[Kind]) -> Kind:
        """Return the section of a method by its type."""
        name = next(name for name, spec in METHODS.items() if spec.parameters is kind)
        found: Kind = getattr(self, name)
        return found


if TYPE_CHECKING:
    Parameters = StageParameters  # what holds the methods' as well, which go by ``of``
else:
    Parameters = create_model(
        "Parameters",
        __base__=StageParameters,
        __module__=__name__,
        __doc__="Everything params.yaml holds, one field a section.",
        **{name: (spec.parameters, spec.parameters()) for name, spec in METHODS.items()},
    )


def load(path: Path, overrides: Sequence[str] = ()) -> Parameters:
    """Read and check a parameter file.

    Parameters
    ----------
    path
        A YAML file with the sections of :class:`Parameters`; absent keys take their defaults.
    overrides
        ``section.key=value`` strings, the value in YAML, applied after the file.

    Raises
    ------
    ParameterError
        If the file cannot be read, or a key is unknown, of the wrong type or out of range.
    """
    values = _read(path)
    for override in overrides:
        _apply(values, override)
    return parse(values, f"{path} with -S" if overrides else str(path))


def parse(values: Mapping[str, Any], where: str) -> Parameters:
    """Check a mapping of sections; ``where`` names it in errors."""
    sections = {name: {} if section is None else section for name, section in values.items()}
    old = dict(old_names(sections))
    try:
        parameters = Parameters.model_validate(sections)
    except ValidationError as error:
        raise ParameterError(explained(error, where, Parameters, old)) from None
    if old:
        raise ParameterError(explained(None, where, Parameters, old))
    return parameters


def _read(path: Path) -> dict[str, Any]:
    from crest.files.yaml_text import NotYAMLError, UnreadableError, parse_yaml, read_text

    try:
        values = parse_yaml(read_text(path))
    except FileNotFoundError:
        raise ParameterError(
            f"{path}: no such parameter file; run in the project folder or name one with --params"
        ) from None
    except UnreadableError as error:
        raise ParameterError(f"{path}: cannot be read: {error}") from None
    except NotYAMLError as error:
        raise ParameterError(f"{path}: not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ParameterError(f"{path}: must hold sections such as 'train:', not {values!r:.60}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value`` in place; a mapping sets the keys of a group that it names."""
    from crest.files.yaml_text import NotYAMLError, parse_yaml

    key, equals, text = override.partition("=")
    *sections, name = key.strip().split(".")
    printed = override if len(override) <= 80 else f"{override:.79}…"
    if not (equals and sections and all(sections) and name):
        raise ParameterError(f"-S {printed}: write it as section.key=value, e.g. train.budget=0.2")
    try:
        value = parse_yaml(text)
    except NotYAMLError as error:
        raise ParameterError(
            f"-S {printed}: the value {text!r:.60} is not valid YAML: {error}"
        ) from None
    place = values
    for depth, section in enumerate(sections, start=1):
        if place.get(section) is None:
            place[section] = {}
        place = place[section]
        if not isinstance(place, dict):
            path = ".".join(sections[:depth])
            raise ParameterError(f"-S {printed}: '{path}' is not a section of keys")
    if isinstance(value, dict) and isinstance(place.get(name), dict):
        place[name] |= value
    else:
        place[name] = value
