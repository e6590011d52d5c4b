"""Curves of a run in other programs while it goes: ``run.track`` names them.

Each is reached through its own library, in a module of :mod:`crest.pipeline.trackers`. A run that
goes on from its saved state goes on in the same curve: beside the state lies what each tracker
calls the run and the last step that it has, and no step goes to it twice.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from crest import artifacts
from crest.config import Parameters
from crest.errors import CrestError, MissingPackageError
from crest.parameters.section import keys_of, value_of
from crest.pipeline.trackers.base import Session, Tracker, Value
from crest.training.loop import Point

logger = logging.getLogger(__name__)

# What each number of a point is called as a curve.
CURVES = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
    "learning_rate": "learning_rate",
    "examples": "examples",
    "seconds": "seconds",
}
FINAL = "final"  # before the names of what is known when a run has ended


def require(names: Sequence[str]) -> None:
    """Import what some trackers need, before anything that takes long.

    Raises
    ------
    MissingPackageError
        If the library of one is not installed; the message names the extra that brings it.
    """
    for name in names:
        _module(name)


def curves_of(point: Point) -> dict[str, float]:
    """Return the numbers of a point by the names of their curves, those that there are."""
    found = asdict(point)
    return {curve: found[name] for name, curve in CURVES.items() if found[name] is not None}


def settings_of(parameters: Parameters, method: str) -> dict[str, Value]:
    """Return what a run depends on, ``section.key`` by value; lists as JSON."""
    sections = {"train": parameters.train, method: parameters.of_method(method)}
    found: dict[str, Value] = {"method": method}
    for name, section in sections.items():
        for key in keys_of(type(section)):
            value = value_of(section, key)
            plain = value is None or isinstance(value, bool | int | float | str)
            found[f"{name}.{key}"] = value if plain else json.dumps(value)
    return found


def numbers_in(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of metrics, those of groups as ``group/name``."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from numbers_in(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value


class Tracks:
    """The trackers of one run; a context that ends them as the run ends.

    Parameters
    ----------
    names
        Of run.track; none for a process that others speak for.
    name
        Of the run, such as ``train-crest``.
    folder
        The project's, for trackers that write files.
    settings
        What the run depends on, for trackers that list it.
    place
        Where the run's state is kept; what is noted of its trackers lies beside it.
    """

    def __init__(
        self,
        names: Sequence[str],
        name: str,
        folder: Path,
        settings: Mapping[str, Value],
        place: Path,
    ) -> None:
        self._names = names
        self._session = Session(name, folder, settings)
        self._noted_in = place.with_suffix(".track.json")
        self._noted: dict[str, dict[str, Any]] = {}  # of each tracker its run and last step
        self._open: dict[str, Tracker] = {}
        self._final: dict[str, float] = {}

    def open(self, resumed: bool) -> None:
        """Begin a curve in each tracker, or go on with those of a run that is ``resumed``.

        Raises
        ------
        CrestError
            If a tracker cannot be reached, or is not set up.
        """
        if resumed and self._noted_in.exists():
            self._noted = artifacts.read_json(self._noted_in)
        else:
            self._noted = {}
        for name in self._names:
            try:
                run = self._noted.get(name, {}).get("run")
                self._open[name] = _module(name).start(self._session, run)
                self._note(name, self._noted.get(name, {}).get("step", 0))
            except Exception as error:
                raise CrestError(
                    f"run.track: {name}: {_in_a_line(error)}; mend that, or take it out of "
                    "run.track"
                ) from error

    def log(self, point: Point) -> None:
        """Add a point to the curves; a tracker that fails gets no more, and a message says so."""
        for name in list(self._open):
            if point.step > self._noted[name]["step"]:
                self._guarded(name, self._add(name, point))

    def conclude(self, metrics: Mapping[str, Any]) -> None:
        """Note what is known at the end of the run."""
        self._final = {f"{FINAL}/{name}": value for name, value in numbers_in(metrics)}

    def __enter__(self) -> "Tracks":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        done = kind is None
        for name in list(self._open):
            self._guarded(name, self._finish(name) if done else lambda tracker: tracker.stop())
        if done:
            with suppress(OSError):
                self._noted_in.unlink(missing_ok=True)

    def _add(self, name: str, point: Point) -> Callable[[Tracker], None]:
        def add(tracker: Tracker) -> None:
            self._note(name, point.step)  # first: a step that is missing is better than one twice
            tracker.log(point.step, curves_of(point))

        return add

    def _finish(self, name: str) -> Callable[[Tracker], None]:
        step = self._noted[name]["step"]
        return lambda tracker: tracker.finish(step, self._final)

    def _note(self, name: str, step: int) -> None:
        self._noted[name] = {"run": self._open[name].run, "step": step}
        self._noted_in.parent.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(self._noted_in, self._noted)

    def _guarded(self, name: str, call: Callable[[Tracker], None]) -> None:
        """Call a tracker; whatever it raises costs its curve, and not the run."""
        try:
            call(self._open[name])
        except Exception as error:
            del self._open[name]
            logger.warning("run.track: %s: %s; the run goes on without it", name, _in_a_line(error))


def _module(name: str) -> Any:
    try:
        return import_module(f"crest.pipeline.trackers.{name}")
    except MissingPackageError as error:
        raise MissingPackageError(f"run.track: {error}") from None


def _in_a_line(error: Exception) -> str:
    """Return what an error of somebody's library says, cut to a line."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.300}"
