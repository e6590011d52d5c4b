"""Sections: what params.yaml is made of, and how their keys are declared and listed.

A key is declared once, with its default, its bounds and a line that describes it. A section may
hold groups, which are sections themselves. Where options stand alone, as keyword arguments of
:class:`crest.Coresets` do, a key of a group goes by GROUP_KEY.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

# All but line breaks and tabs of what moves the cursor, and halves of surrogate pairs.
CONTROL = re.compile(r"[^\n\t -~\u00a0-\ud7ff\ue000-\U0010ffff]")


class Section(BaseModel):
    """Base of every section: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @field_validator("*")
    @classmethod
    def _has_no_control_characters(cls, value: Any) -> Any:
        """Refuse what a terminal would obey, and halves of characters."""
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and CONTROL.search(text):
                raise ValueError("must be text without control characters")
        return value


def key(default: Any, description: str, *, option: str | None = None, **bounds: Any) -> Any:
    """Declare a key: its default, a line that describes it, and bounds as of pydantic's Field.

    ``option`` is what the key of a group is called where options stand alone, if not GROUP_KEY.
    """
    extra: Any = None if option is None else {"option": option}
    return Field(default, description=description, json_schema_extra=extra, **bounds)


def fault(name: str, value: Any, message: str) -> ValidationError:
    """Return what a validator of a group raises for one key of it."""
    cause = {"error": ValueError(message)}
    return ValidationError.from_exception_data(
        "group", [{"type": "value_error", "loc": (name,), "input": value, "ctx": cause}]
    )


def group_of(field: FieldInfo) -> type[Section] | None:
    """Return the group that a field holds; None for a field that holds a value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def keys_of(section: type[Section]) -> dict[str, FieldInfo]:
    """Return the keys that hold values, in order, those of groups as ``group.key``."""
    return dict(_keys(section, ""))


def _keys(section: type[Section], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        group = group_of(field)
        if group is None:
            yield prefix + name, field
        else:
            yield from _keys(group, f"{prefix}{name}.")


def options_of(section: type[Section]) -> dict[str, str]:
    """Return the keys by what they are called as options."""
    found = {}
    for name, field in keys_of(section).items():
        extra = field.json_schema_extra
        own = extra.get("option") if isinstance(extra, dict) else None
        found[own if isinstance(own, str) else name.replace(".", "_")] = name
    return found


def nested(section: type[Section], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as the section holds them, in groups; groups may be among them as well."""
    known = options_of(section)
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name in section.model_fields and isinstance(value, Mapping):
            values.setdefault(name, {}).update(value)
            continue
        group, dot, own = known.get(name, name).rpartition(".")
        place = values.setdefault(group, {}) if dot else values
        place[own] = value
    return values


def put(values: dict[str, Any], place: str, value: Any) -> None:
    """Set a key, such as ``crest.learned.loss``, in nested dictionaries, in place."""
    *groups, last = place.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[last] = value


def flat(section: Section) -> dict[str, Any]:
    """Return the values of a section by what their keys are called as options."""
    return {name: value_of(section, place) for name, place in options_of(type(section)).items()}


def value_of(section: Section, place: str) -> Any:
    """Return the value of a key, such as ``learned.loss``."""
    found: Any = section
    for name in place.split("."):
        found = getattr(found, name)
    return found
