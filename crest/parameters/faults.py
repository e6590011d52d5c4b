"""Faults of parameters, said in terms of params.yaml."""

from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import ValidationError

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
    faults = dict(known)
    for fault in [] if error is None else error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if key in known:
            continue
        if fault["type"] == "extra_forbidden":
            message = f"unknown key{_suggestion(key, root)}"
        else:
            plain = fault["msg"].removeprefix("Value error, ").replace("Input should", "must")
            message = f"{_MESSAGES.get(fault['type'], plain)}, got {fault['input']!r:.60}"
        faults.setdefault(key, message)
    return "\n".join(
        " ".join(f"{where}: {key}: {message}".split()) for key, message in faults.items()
    )


def _suggestion(key: str, root: type[Section]) -> str:
    """Name the nearest known key, or section for the name of a section."""
    section, dot, rest = key.partition(".")
    if not dot:
        close = get_close_matches(key, list(root.model_fields), n=1)
        return f"; did you mean '{close[0]}'?" if close else ""
    known = [*keys_of(root), *_groups(root)]
    elsewhere = [name for name in known if name.endswith("." + key.rpartition(".")[2])]
    if elsewhere:
        return f"; did you mean '{elsewhere[0]}'?"
    # Without the section, which by itself would make all of its keys resemble each other.
    own = [name.removeprefix(f"{section}.") for name in known if name.startswith(f"{section}.")]
    close = get_close_matches(rest, own, n=1)
    return f"; did you mean '{section}.{close[0]}'?" if close else ""


def _groups(root: type[Section]) -> list[str]:
    return [
        f"{section}.{name}"
        for section, field in root.model_fields.items()
        for name, own in (group_of(field) or Section).model_fields.items()
        if group_of(own)
    ]
