"""Experiment files: which runs make up a table, with which parameters.

    description: what the table is to show
    preset: cifar10-resnet20-cheap        # parameters to start from; none: the defaults
    set: {train.threads: 1}               # and what all runs change of them
    seeds: [0, 1, 2]
    data: {shuffled_labels: 0.2}          # the training split, changed in memory
    reference: 0.92                       # accuracy of full training elsewhere, if it is not run
    runs:
      - {name: random, method: random, set: {train.budget: 0.1}}
      - {name: crest, method: crest, set: {train.budget: 0.1}}
      - {name: random at crest's time, method: random, as_long_as: crest}
      - {name: resnet18 on its coresets, coresets_of: crest, set: {train.model: resnet18}}

``preset``, ``seeds`` and ``data`` may stand at a run too, for that run alone.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from benchmarks.experiments.names import names
from crest.config import Parameters, parse
from crest.errors import ParameterError
from crest.methods import METHODS
from crest.parameters.section import Section, keys_of, put, value_of
from crest.parameters.types import Seed
from crest.presets import presets

Bases = Mapping[str, Mapping[str, Any]]

# Parameters of train that do not tell rows apart; the seed is a column of its own.
INDIFFERENT = {"train.seed", "train.snapshots"}


class Variation(Section):
    """How the training split is changed: one of them or none, of all of it or a random share.

    Of the labels a share is shuffled; or each is with some chance the class that ``mistaken`` takes
    its own for. ``only_right`` leaves out the examples whose label that made a wrong one: no method
    can know them, so that it bounds what one can gain.
    """

    share: float = Field(default=1.0, gt=0.0, le=1.0)
    shuffled_labels: float = Field(default=0.0, ge=0.0, le=1.0)
    mistaken_labels: float = Field(default=0.0, ge=0.0, le=1.0)
    mistaken: dict[int, int] = Field(default_factory=dict)
    only_right: bool = False
    repeated: int = Field(default=1, ge=1)
    imbalance: float = Field(default=1.0, ge=1.0)
    seed: Seed = 0


class Entry(Section):
    """A row of the table, as the file has it."""

    name: str = Field(min_length=1)
    method: str = "replay"
    preset: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    seeds: list[Seed] | None = None
    data: Variation | None = None
    as_long_as: str | None = None
    coresets_of: str | None = None


class File(Section):
    """An experiment file."""

    description: str
    preset: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    seeds: list[Seed] = Field(default=[0, 1, 2], min_length=1)
    data: Variation = Variation()
    reference: float | None = Field(default=None, gt=0.0, le=1.0)
    runs: list[Entry] = Field(min_length=1)


@dataclass(frozen=True)
class Plan:
    """One row of the table, worked out: what is run for each of its seeds.

    ``overrides`` are the parameters of training and of the method that differ from the defaults,
    and ``hash`` is of everything that the result depends on but the seed, the data and the code,
    by the names that names.yaml has of it.
    """

    name: str
    method: str
    parameters: Parameters
    overrides: dict[str, Any]
    seeds: tuple[int, ...]
    data: Variation
    as_long_as: str | None
    coresets_of: str | None
    hash: str

    @property
    def folder(self) -> str:
        """The name as folders have it."""
        return re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-.")

    def seeded(self, seed: int) -> Parameters:
        """Return the parameters of one run."""
        return changed(self.parameters, train={"seed": seed})


@dataclass(frozen=True)
class Experiment:
    """An experiment, worked out."""

    name: str
    description: str
    reference: float | None
    plans: tuple[Plan, ...]

    def plan(self, name: str) -> Plan:
        """Return the row of that name."""
        return next(plan for plan in self.plans if plan.name == name)


def read(path: Path, seeds: Sequence[int] | None = None) -> Experiment:
    """Read an experiment file; ``seeds`` take the place of its own.

    Raises
    ------
    ParameterError
        If the file, or a run of it, makes no sense; the message names it. A method that does not
        exist is no fault before it is to be run (:func:`check_method`).
    """
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        file = File.model_validate(values)
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read: {error.strerror}") from None
    except YAMLError as error:
        raise ParameterError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise ParameterError(_explain(error, path)) from None
    plans: list[Plan] = []
    bases = presets()
    for entry in file.runs:
        plans.append(_plan(file, entry, bases, plans, seeds, f"{path}: {entry.name}"))
    return Experiment(path.stem, file.description, file.reference, tuple(plans))


def check_method(plan: Plan) -> None:
    """Raise a :class:`ParameterError` if there is no such method."""
    if plan.method not in METHODS:
        raise ParameterError(f"{plan.name}: '{plan.method}' is not one of {', '.join(METHODS)}")


def changed(parameters: Parameters, **sections: dict[str, Any]) -> Parameters:
    """Return parameters with some of them set, checked again."""
    values = parameters.model_dump()
    for section, settings in sections.items():
        for key, value in settings.items():
            put(values[section], key, value)
    return parse(values, "experiment")


def _plan(
    file: File,
    entry: Entry,
    bases: Bases,
    earlier: list[Plan],
    seeds: Sequence[int] | None,
    where: str,
) -> Plan:
    parameters = _parameters(file, entry, bases, where)
    overrides = _overrides(parameters, entry)
    data = entry.data or file.data
    depends: dict[str, Any] = {"method": entry.method}
    depends["overrides"] = names().overrides_then(overrides)
    depends["data"] = data.model_dump(exclude_defaults=True)
    for kind in ("as_long_as", "coresets_of"):
        name = getattr(entry, kind)
        if name is not None:
            depends[kind] = _named(name, earlier, f"{where}: {kind}").hash
    if entry.coresets_of is not None and entry.method != "replay":
        raise ParameterError(f"{where}: coresets_of: the method of such a run is replay")
    if entry.method == "replay" and entry.coresets_of is None:
        raise ParameterError(f"{where}: replay needs coresets_of: NAME, an earlier run")
    plan = Plan(
        name=entry.name,
        method=entry.method,
        parameters=parameters,
        overrides=overrides,
        seeds=_seeds(file, entry, seeds),
        data=data,
        as_long_as=entry.as_long_as,
        coresets_of=entry.coresets_of,
        hash=hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16],
    )
    if any(plan.folder == other.folder for other in earlier):
        raise ParameterError(f"{where}: two runs would share the folder '{plan.folder}'")
    return plan


def _parameters(file: File, entry: Entry, bases: Bases, where: str) -> Parameters:
    """Apply the preset, then what the file sets, then what the run sets, over the defaults."""
    values: dict[str, Any] = {}
    preset = entry.preset or file.preset
    if preset is not None:
        if preset not in bases:
            raise ParameterError(f"{where}: preset: '{preset}' is not one of {', '.join(bases)}")
        values = deepcopy({**bases[preset]})
        del values["description"]
    for key, value in (file.set | entry.set).items():
        if "." not in key:
            raise ParameterError(f"{where}: set: '{key}' is not section.key")
        put(values, key, value)
    if entry.method not in METHODS:
        values.pop(entry.method, None)  # parameters of a method that is not there; it is not run
    return parse(values, where)


def _overrides(parameters: Parameters, entry: Entry) -> dict[str, Any]:
    """Return what differs from the defaults in train and the method's section, or was set."""
    defaults = Parameters()
    keys = {
        f"{name}.{key}"
        for name in ("train", entry.method)
        for key in (keys_of(type(getattr(parameters, name))) if hasattr(parameters, name) else ())
        if value_of(parameters, f"{name}.{key}") != value_of(defaults, f"{name}.{key}")
    }
    keys |= {key for key in entry.set if hasattr(parameters, key.partition(".")[0])}
    return {
        key: value_of(parameters, key)
        for key in sorted(keys - INDIFFERENT)
        if not key.startswith("run.")
    }


def _seeds(file: File, entry: Entry, seeds: Sequence[int] | None) -> tuple[int, ...]:
    wanted = file.seeds if seeds is None else seeds
    own = entry.seeds
    return tuple(wanted) if own is None else tuple(seed for seed in own if seed in wanted)


def _named(name: str, plans: Sequence[Plan], where: str) -> Plan:
    for plan in plans:
        if plan.name == name:
            return plan
    raise ParameterError(f"{where}: no run before it is called '{name}'")


def _explain(error: ValidationError, path: Path) -> str:
    faults = (
        f"{path}: {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    )
    return "\n".join(faults)


def same_but_budget(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two runs' overrides differ in nothing but the budget."""

    def rest(overrides: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in overrides.items() if key != "train.budget"}

    return rest(first) == rest(second)
