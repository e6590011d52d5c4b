"""What a tracker is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Session:
    """What a tracker is to know of a run: its name, the project's folder, its settings."""

    name: str
    folder: Path
    settings: Mapping[str, Value]


class Tracker(Protocol):
    """Curves of one run in somebody's program; whatever it raises is caught.

    A module has ``start(session, run)``, which returns one; ``run`` is :attr:`run` of the tracker
    that had the curves of the same run before it was stopped, None for a run that begins.
    """

    run: str
    """What the program calls the run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values after some steps to the curves of their names."""

    def finish(self, step: int, values: Mapping[str, float]) -> None:
        """End a run that is done after some steps, with values of the whole of it."""

    def stop(self) -> None:
        """End for now a run that was stopped or has failed."""
