"""Faults of parameters, said in terms of params.yaml."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from crest.errors import nearest
from crest.parameters.section import Section, group_of, keys_of

# What pydantic says in terms of Python.
_MESSAGES = {
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "string_type": "must be text",
    "tuple_type": "must be a list, such as [crest, random]",
    "model_type": "must be a section of keys",
    "invalid_key": "must be named by text",
    "too_short": "must list at least one",
}

# What pydantic calls a type behind the key of a value that may be of several.
TYPE = re.compile(r"bool|int|float|str|literal\[.*\]")


def explained(
    error: ValidationError | None, where: str, root: type[Section], known: Mapping[str, str]
) -> str:
    """Say every fault of a parameter file, a line each, with the key it lies in.

    Parameters
    ----------
    root
        What holds the sections.
    known
        What is to be said of some keys, whatever pydantic finds in them.
    """
    by_key: dict[str, list[Any]] = {}
    for fault in [] if error is None else error.errors():
        by_key.setdefault(_key_of(fault["loc"], root), []).append(fault)
    faults = {key: _message(key, found, root) for key, found in by_key.items()}
    faults = {**known, **{key: text for key, text in faults.items() if key not in known}}
    return "\n".join(
        " ".join(f"{where}: {key}: {message}".split()) for key, message in faults.items()
    )


def _key_of(place: Sequence[int | str], root: type[Section]) -> str:
    """Return the key of a fault; of a key that takes several types pydantic appends the type."""
    key = ".".join(map(str, place))
    plain = ".".join(map(str, place[:-1]))
    return plain if key not in keys_of(root) and TYPE.fullmatch(str(place[-1])) else key


def _message(key: str, faults: Sequence[Any], root: type[Section]) -> str:
    """Say what is wrong with a key; of several types that it may have, all of them."""
    if faults[0]["type"] == "extra_forbidden":
        return f"unknown key{_suggestion(key, root)}"
    wanted, hint = [], ""
    for fault in faults:
        plain = fault["msg"].removeprefix("Value error, ").replace("Input should", "must")
        wanted.append(_MESSAGES.get(fault["type"], plain))
        if fault["type"] == "literal_error":
            hint = nearest(fault["input"], re.findall(r"'([^']*)'", plain))
    others = [text.removeprefix("must be ") for text in wanted[1:]]
    return f"{' or '.join([wanted[0], *others])}, got {faults[0]['input']!r:.60}{hint}"


def _suggestion(key: str, root: type[Section]) -> str:
    """Name the nearest known key, or section for the name of a section."""
    section, _, name = key.partition(".")
    if not name:
        return nearest(key, root.model_fields)
    known = [*keys_of(root), *_groups(root)]
    own = [place.partition(".")[2] for place in known if place.startswith(f"{section}.")]
    elsewhere = [place for place in known if place.endswith("." + key.rpartition(".")[2])]
    if not elsewhere and (hint := nearest(name, own, prefix=f"{section}.")):
        return hint
    found = elsewhere or _described_as(name, section, root)
    return f"; did you mean '{found[0]}'?" if found else ""


def _described_as(name: str, section: str, root: type[Section]) -> list[str]:
    """Return the keys of a section whose description has a name, the likeliest first.

    So is the learning rate found, which is called lr, and the tau of the paper.
    """
    words = name.lower().replace("_", " ").replace("-", " ")
    about = {
        place: (field.description or "").lower()
        for place, field in keys_of(root).items()
        if place.startswith(f"{section}.")
    }
    found = [place for place, text in about.items() if re.search(rf"\b{re.escape(words)}\b", text)]
    return sorted(found, key=lambda place: (f"({words})" not in about[place], len(about[place])))


def _groups(root: type[Section]) -> list[str]:
    return [
        f"{section}.{name}"
        for section, field in root.model_fields.items()
        for name, own in (group_of(field) or Section).model_fields.items()
        if group_of(own)
    ]
