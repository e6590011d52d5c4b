"""Text files of YAML 1.2 written by people: read within bounds, every fault in a line."""

import re
import stat
from pathlib import Path
from typing import Any

from crest.errors import needs_extra

# params.yaml takes 11 kB. Reading this much takes seconds.
LARGEST_FILE = 2**17
# Values that a text may hold once every alias is replaced by what it stands for.
MOST_VALUES = 10_000
DEEPEST = 50  # brackets within brackets
UTF16 = (b"\xff\xfe", b"\xfe\xff")


class NotYAMLError(Exception):
    """Text that is not YAML; says in a line why not."""


class UnreadableError(Exception):
    """A file that cannot be read as text; says in a line why not."""


def read_text(path: Path) -> str:
    """Read a regular file of UTF-8, with or without a byte-order mark.

    Raises
    ------
    UnreadableError
        If it is anything else, or larger than :data:`LARGEST_FILE`.
    FileNotFoundError
        If it is not there.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise UnreadableError("a pipe or a device; save the parameters in a file and name that")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise UnreadableError(f"{getattr(error, 'strerror', None) or error}") from None
    if len(content) > LARGEST_FILE:
        raise UnreadableError(
            f"larger than {LARGEST_FILE // 1024} KiB, as no parameters are; name the file of them"
        )
    if content.startswith(UTF16):
        raise UnreadableError("text in UTF-16; save it in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not text in UTF-8 ({error}); save it in UTF-8") from None


def parse_yaml(text: str) -> Any:
    """Parse YAML 1.2, as DVC does: 1e-3 is a number, and no key may be given twice.

    Raises
    ------
    NotYAMLError
        If it is not YAML, or holds more than :data:`MOST_VALUES` values.
    """
    with needs_extra("pipeline"):
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
    try:
        _check_depth(text)
        if "*" in text:
            _check_aliases(text)
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise NotYAMLError(f"{line}{error.problem}") from None
    # A date that does not exist, or a tag that its value does not fit.
    except (YAMLError, ValueError, TypeError, AttributeError) as error:
        raise NotYAMLError(" ".join(str(error).split())) from None
    except RecursionError:
        raise NotYAMLError("nested too deeply") from None


def _check_depth(text: str) -> None:
    """Refuse brackets that are nested without an end, each of which makes the next one slower."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > DEEPEST:
            raise NotYAMLError("nested too deeply")


def _check_aliases(text: str) -> None:
    """Refuse aliases within what they stand for, and those that multiply to too many values."""
    with needs_extra("pipeline"):
        from ruamel.yaml import YAML
        from ruamel.yaml.events import (
            AliasEvent,
            CollectionEndEvent,
            CollectionStartEvent,
            NodeEvent,
        )
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]  # anchor, and the values within so far

    def add(count: int) -> None:
        anchor, values = open_nodes[-1]
        if values + count > MOST_VALUES:
            raise NotYAMLError(f"more than {MOST_VALUES} values, once its aliases are replaced")
        open_nodes[-1] = (anchor, values + count)

    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            if event.anchor not in sizes:
                line = event.start_mark.line + 1
                raise NotYAMLError(f"line {line}: *{event.anchor} stands for nothing before it")
            add(sizes[event.anchor])
        elif isinstance(event, CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
        elif isinstance(event, CollectionEndEvent):
            anchor, values = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = values
            add(values)
        elif isinstance(event, NodeEvent):
            if event.anchor is not None:
                sizes[event.anchor] = 1
            add(1)
