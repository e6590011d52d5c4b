"""What is generated from the declarations of parameters: a page, comments, types of options."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from crest.config import Parameters
from crest.methods import METHODS
from crest.parameters.section import Section, group_of, keys_of, options_of, value_of
from crest.parameters.types import Range

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "parameters.md"
PARAMS = ROOT / "params.yaml"
OPTIONS = ROOT / "crest" / "loop_support" / "option_types.py"
COLUMN = 24  # where comments of params.yaml begin, if they can
UNBOUNDED = 2**31  # from here on a bound is no news

HEAD = """\
# Parameters

Every key of params.yaml. `-S section.key=value` sets one for a single run, such as
`-S train.budget=0.2` or `-S crest.learned.loss=0.2`. Keyword arguments of `Coresets` are the keys
of a method's section without its name; what they are called, where that is not the key itself, is
in brackets.

This page, the comments of params.yaml and the types of the options of `Coresets` are written from
the declarations (crest/parameters/sections.py, crest/methods/) by `python -m tests.parameters`.
"""


def files() -> dict[Path, str]:
    """What is generated, by the file it is to stand in."""
    return {
        PAGE: page(),
        PARAMS: params_yaml(PARAMS.read_text(encoding="utf-8")),
        OPTIONS: option_types(),
    }


def sections() -> dict[str, type[Section]]:
    """Every section by name, in order."""
    return {
        name: kind for name, field in Parameters.model_fields.items() if (kind := group_of(field))
    }


def about(section: type[Section]) -> str:
    """The line that describes a section or a group, as a comment."""
    line = _docline(section).rstrip(".")
    return line[:1].lower() + line[1:]


def _docline(section: type[Section]) -> str:
    return (section.__doc__ or "").splitlines()[0]


def page() -> str:
    """docs/parameters.md."""
    return HEAD + "".join(_table(name, kind) for name, kind in sections().items())


def _table(name: str, section: type[Section]) -> str:
    text = f"\n## {name}\n\n{_docline(section)}\n"
    if not section.model_fields:
        return text
    text += "\n| key | default | range | what it is |\n|---|---|---|---|\n"
    options = {place: option for option, place in options_of(section).items()}
    for place, field in keys_of(section).items():
        option = options[place] if name in METHODS else place
        called = "" if option == place else f" ({option})"
        default = in_yaml(value_of(section(), place))
        cells = (f"`{place}`{called}", f"`{default}`", range_of(field), field.description)
        text += "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n"
    return text


def range_of(field: FieldInfo) -> str:
    """The values that a key may have, in words."""
    words = _range(
        Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    )
    return " or ".join(words)


def _range(kind: Any) -> list[str]:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return [word for part in get_args(kind) for word in _range(part)]
    if origin is Annotated:
        inner, *marks = get_args(kind)
        if words := [mark.words for mark in marks if isinstance(mark, Range)]:
            return words
        return [f"{word}{_bounds(_flat(marks))}" for word in _range(inner)]
    if origin is Literal:
        return [", ".join(str(value) for value in get_args(kind))]
    if origin is tuple:
        return ["a list"]
    return [
        {NoneType: "null", bool: "true, false", int: "whole number", float: "number"}.get(
            kind, "text"
        )
    ]


def _flat(marks: list[Any]) -> list[Any]:
    return [
        one for mark in marks for one in (mark.metadata if isinstance(mark, FieldInfo) else [mark])
    ]


def _bounds(marks: list[Any]) -> str:
    low = [f" from {mark.ge:.10g}" for mark in marks if isinstance(mark, Ge)]
    low += [f" above {mark.gt:.10g}" for mark in marks if isinstance(mark, Gt)]
    high = [f" to {mark.le:.10g}" for mark in marks if isinstance(mark, Le)]
    high += [
        f" below {mark.lt:.10g}" for mark in marks if isinstance(mark, Lt) and mark.lt < UNBOUNDED
    ]
    return "".join(low + high)


def in_yaml(value: Any) -> str:
    """A value as params.yaml has it, in a line."""
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.strip().removesuffix("...").strip()


def params_yaml(text: str) -> str:
    """params.yaml with the values that it has and the comments of the declarations."""
    values = yaml.safe_load(text)
    head = "".join(line for line in text.splitlines(keepends=True)[:3] if line.startswith("#"))
    parts = [_section(name, kind, values.get(name) or {}) for name, kind in sections().items()]
    return head + "".join("\n" + "".join(f"{line}\n" for line in part) for part in parts)


def _section(name: str, section: type[Section], values: dict[str, Any]) -> Iterator[str]:
    if not section.model_fields:
        yield commented(f"{name}: {{}}", about(section))
        return
    yield commented(f"{name}:", about(section))
    yield from _lines(section, values, "  ")


def _lines(section: type[Section], values: dict[str, Any], indent: str) -> Iterator[str]:
    defaults = section()
    for key, field in section.model_fields.items():
        group = group_of(field)
        if group is not None:
            yield commented(f"{indent}{key}:", about(group))
            yield from _lines(
                group, values.get(key) or getattr(defaults, key).model_dump(), indent + "  "
            )
            continue
        value = values.get(key, getattr(defaults, key))
        yield commented(f"{indent}{key}: {in_yaml(value)}", field.description or "")


def commented(line: str, comment: str) -> str:
    """A line of YAML and its comment."""
    return f"{line:{COLUMN - 1}} # {comment}"


def option_types() -> str:
    """crest/loop_support/option_types.py."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(OPTIONS), "-"]
    done = subprocess.run(
        command, input=_option_types(), capture_output=True, text=True, check=True
    )
    return done.stdout


def _option_types() -> str:
    text = (
        '"""Types of the options of Coresets, for editors and checkers.\n\n'
        "Written from the declarations in crest/methods by `python -m tests.parameters`.\n"
        '"""\n\nfrom typing import Literal, TypedDict\n'
    )
    methods = {name: spec.parameters for name, spec in METHODS.items() if name != "replay"}
    everything: dict[str, list[str]] = {}
    for name, section in methods.items():
        types = option_types_of(section)
        text += f"\n\nclass {class_of(name)}(TypedDict, total=False):\n"
        text += f'    """Options of {name}."""\n\n'
        text += "".join(_line(option, kind) for option, kind in types.items())
        for option, kind in types.items():
            everything.setdefault(option, []).append(kind)
    text += "\n\nclass Options(TypedDict, total=False):\n"
    text += (
        '    """Keyword arguments of Coresets.\n\n'
        "    Those of the chosen method stand alone; those of several methods go by the methods'\n"
        '    names, as the sections of params.yaml.\n    """\n\n'
    )
    for option, kinds in everything.items():
        text += _line(option, _either(kinds))
    return text + "\n" + "".join(_line(name, class_of(name)) for name in methods)


def _either(kinds: list[str]) -> str:
    """A type that is any of several, of which the longest may hold the others."""
    longest = max(kinds, key=len)
    inner = [kind.removeprefix("Literal[").removesuffix("]").split(", ") for kind in kinds]
    whole = longest.removeprefix("Literal[").removesuffix("]").split(", ")
    if all(set(one) <= set(whole) for one in inner):
        return longest
    return " | ".join(dict.fromkeys(kinds))


def class_of(method: str) -> str:
    """The name of the type of a method's options."""
    return f"{method.title().replace('_', '')}Options"


def option_types_of(section: type[Section]) -> dict[str, str]:
    """The types of a section's keys by what they are called as options, as Python has them."""
    keys = keys_of(section)
    return {
        option: python_type(keys[place].annotation) for option, place in options_of(section).items()
    }


def python_type(kind: Any) -> str:
    """A type without what is checked of its values."""
    origin = get_origin(kind)
    if origin is Annotated:
        return python_type(get_args(kind)[0])
    if origin in (Union, UnionType):
        return " | ".join(python_type(part) for part in get_args(kind))
    if origin is Literal:
        values = ", ".join(
            f'"{one}"' if isinstance(one, str) else repr(one) for one in get_args(kind)
        )
        return f"Literal[{values}]"
    return "None" if kind is NoneType else str(kind.__name__)


def _line(name: str, kind: str) -> str:
    return f"    {name}: {kind}\n"
