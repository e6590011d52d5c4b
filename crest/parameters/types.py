"""What values parameters may have: the types of their fields, each with its bounds.

Whatever a parameter file may hold has an end: counts that fit into the tables, numbers that stay
numbers in float32.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
)


@dataclass(frozen=True)
class Range:
    """What values a type holds, in words, where its bounds do not say it."""

    words: str


def _text(pattern: str, description: str) -> AfterValidator:
    """Return a check that a text matches a pattern as a whole."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"must be {description}")
        return value

    return AfterValidator(check)


def _distinct(names: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a name, or a number, that is listed twice."""
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"lists {name!r} twice")
        seen.add(name)
    return names


def _apart(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a name within another: their results would lie within one another."""
    for name in names:
        if inner := [other for other in names if other.startswith(f"{name}/")]:
            raise ValueError(f"lists '{inner[0]}' within '{name}'; rename one")
    return names


def _in_float32(value: float) -> float:
    """Refuse numbers that float32, in which models compute, has no place for."""
    if value and not SMALLEST <= value <= GREATEST:
        raise ValueError(f"must lie between {SMALLEST:g} and {GREATEST:g}")
    return value


def _whole(value: Any) -> Any:
    """Refuse what only equals a whole number, such as true and 2.0."""
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


# Far within float32, whose squares and products stay numbers as well.
SMALLEST, GREATEST = 1e-30, 1e30
LARGEST = 2**31  # of counts, which tables hold in 32 bits
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False), AfterValidator(_in_float32)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False), AfterValidator(_in_float32)]
Alpha = Annotated[float, Field(ge=0.0, le=100.0)]
Smoothing = Annotated[float, Field(ge=0.0, lt=1.0)]
Seconds = Annotated[float, Field(gt=0.0, le=1e6)]
Order = Annotated[Literal[1, 2], BeforeValidator(_whole)]
Factor = Annotated[float, Field(gt=0.0, le=1e6)]
Count = Annotated[int, Field(ge=1, lt=LARGEST)]
CountOrZero = Annotated[int, Field(ge=0, lt=LARGEST)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Device = Annotated[
    str,
    _text(r"auto|cpu|cuda(:[0-9]{1,3})?", "auto, cpu, cuda or cuda:N"),
    Range("auto, cpu, cuda, cuda:N"),
]
ArtifactName = Annotated[
    str,
    _text(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a name of letters, digits and . _ -, as folders have"),
]
ModelName = Annotated[
    str,
    _text(
        r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*",
        "a model's name, OWNER/NAME or a folder within the project: letters, digits and . _ -",
    ),
]
# YAML has lists where frozen values have tuples.
FROM_LIST = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
Names = Annotated[tuple[ArtifactName, ...], FROM_LIST, AfterValidator(_distinct)]
Models = Annotated[
    tuple[ModelName, ...], FROM_LIST, AfterValidator(_distinct), AfterValidator(_apart)
]
Seeds = Annotated[tuple[Seed, ...], FROM_LIST, AfterValidator(_distinct)]
Trackers = Annotated[
    tuple[Literal["dvclive", "tensorboard", "mlflow", "wandb"], ...],
    FROM_LIST,
    AfterValidator(_distinct),
]

Columns = Annotated[
    tuple[str, ...],
    FROM_LIST,
    AfterValidator(_distinct),
    Field(min_length=1, max_length=2),
]


def _rising(shares: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range whose end lies before its start."""
    if shares[0] > shares[1]:
        raise ValueError("the first must not be greater than the second")
    return shares


Scale = Annotated[
    tuple[Share, Share],
    FROM_LIST,
    AfterValidator(_rising),
    Range("two shares, [0.08, 1.0]"),
]


def _share_or_count(value: Any) -> Any:
    """Accept a share in (0, 1) or a whole number of examples; reject anything between."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a share of the data, such as 0.01, or a count, such as 500")
    if isinstance(value, float) and not 0.0 < value < 1.0:
        raise ValueError("a share lies between 0 and 1; write a count as a whole number")
    if isinstance(value, int) and value < 1:
        raise ValueError("a count is at least 1")
    return value


ShareOrCount = Annotated[
    float | int,
    BeforeValidator(_share_or_count),
    Range("a share below 1, or a count from 1"),
]
