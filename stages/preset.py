"""preset: ready-made set-ups, written into params.yaml with its comments kept."""

from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from crest.artifacts import replacing
from crest.config import Parameters, load
from crest.errors import needs_extra
from crest.parameters.section import keys_of
from crest.presets import preset, presets

with needs_extra("pipeline"):
    import yaml
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq
    from ruamel.yaml.nodes import ScalarNode
    from ruamel.yaml.representer import RoundTripRepresenter

COLUMN = 31  # where comments begin, if they can

__all__ = ["as_yaml", "presets", "run"]


def as_yaml(name: str) -> str:
    """Return what a preset sets, as params.yaml has it, each key with what it is.

    Raises
    ------
    ParameterError
        If the preset is unknown.
    """
    sections = preset(name)
    known = keys_of(Parameters)
    head = f"# {name}: {sections['description']}\n"
    return head + "".join(
        f"\n{section}:\n" + "".join(_lines(values, f"{section}.", known, "  "))
        for section, values in sections.items()
        if isinstance(values, Mapping)
    )


def _lines(
    values: Mapping[str, Any], place: str, known: Mapping[str, FieldInfo], indent: str
) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:\n"
            yield from _lines(value, f"{place}{key}.", known, f"{indent}  ")
            continue
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
        line = f"{indent}{key}: {text.strip().removesuffix('...').strip()}"
        yield f"{line:{COLUMN}} # {known[place + key].description}\n"


def run(name: str, path: Path) -> None:
    """Write a preset into a parameter file; keys it does not set stay as they are.

    Raises
    ------
    ParameterError
        If the preset is unknown, or the file is not a valid parameter file.
    """
    sections = preset(name)
    load(path)
    round_trip = YAML()
    round_trip.width = 200
    round_trip.representer.add_representer(type(None), _represent_null)
    content = path.read_bytes()
    text = content.decode("utf-8-sig").replace("\r\n", "\n")
    document = round_trip.load(text) or {}
    # What holds no section has comments at most, which belong to none.
    comments = [] if document else [line for line in text.splitlines() if line[:1] == "#"]
    _merge(document, {key: value for key, value in sections.items() if key != "description"})
    with replacing(path) as partial:
        newline = "\r\n" if b"\r\n" in content else "\n"
        with partial.open("w", encoding="utf-8", newline=newline) as written:
            written.writelines(f"{line}\n" for line in comments)
            round_trip.dump(document, written)
        load(partial)


def _merge(place: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Write values in place, sections and groups key by key."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            if place.get(key) is None:
                place[key] = {}
            _merge(place[key], value)
        else:
            place[key] = _in_a_line(value)


def _in_a_line(value: Any) -> Any:
    """Return a list as one that is written in a line, before the comment of its key."""
    if not isinstance(value, list):
        return value
    line = CommentedSeq(value)
    line.fa.set_flow_style()
    return line


def _represent_null(representer: RoundTripRepresenter, value: None) -> ScalarNode:
    """Write null as a word, as the file does, and not as nothing."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
