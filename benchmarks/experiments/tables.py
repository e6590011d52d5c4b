"""The rows of an experiment as a table in Markdown, a row for each run over its seeds."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from benchmarks.experiments.experiment import Experiment, same_but_budget
from benchmarks.experiments.reaching import Reached, steps_to
from benchmarks.experiments.rows import Row
from crest.errors import ParameterError

Place = tuple[str, str]

DASH = "–"
COMPUTED = "\\*"
COLUMNS = (
    "run",
    "accuracy (seeds)",
    "relative error",
    "steps",
    "examples",
    "seconds",
    "÷ random",
    "speed-up over full",
    "updates",
    "− random",
    "− random, equal time",
)
# Of a table that compares rules at several budgets.
RULE_COLUMNS = (
    "run",
    "accuracy (seeds)",
    "steps",
    "backpropagated",
    "scored",
    "TFLOP",
    "seconds",
    "÷ random",
    "− random",
    "− random, equal time",
    "steps to random's accuracy",
)


def timing(row: Row) -> str:
    """Return which of a row's seconds are to be compared."""
    alone = row["device"] == "cpu" and row["machine"]["threads"] == 1
    return "cpu_seconds" if alone else "seconds"


def machine_of(row: Row) -> str:
    """Describe what a row's run ran on: processor or GPU, threads, precision, versions."""
    machine = row["machine"]
    cores = f"{machine['threads']} of {machine['cores']} cores of {machine['cpu']}"
    versions = f"torch {row['torch']}, Python {machine['python']}"
    return f"{machine.get('gpu', cores)}, {row['precision']}, {versions}"


def place(row: Row) -> Place:
    """Return machine and clock, as seconds compare only where both are the same."""
    return machine_of(row), timing(row)


@dataclass(frozen=True)
class Group:
    """The rows of one run, a seed each, all with the same parameters."""

    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return self.rows[0]["name"]

    @property
    def method(self) -> str:
        return self.rows[0]["method"]

    @property
    def time_of(self) -> str | None:
        """The run whose time this one was given."""
        given = self.rows[0]["as_long_as"]
        return None if given is None else given["run"]

    @property
    def on_processor(self) -> bool:
        """Whether its seconds are what the processors worked, not wall-clock."""
        return {timing(row) for row in self.rows} == {"cpu_seconds"}

    @property
    def seconds(self) -> dict[Place, list[float]]:
        """Of each machine and clock, the seeds' seconds; only those of one compare."""
        found: dict[Place, list[float]] = {}
        for row in self.rows:
            found.setdefault(place(row), []).append(row[timing(row)])
        return found

    @property
    def seconds_a_step(self) -> dict[Place, float]:
        """Of each machine and clock, the median over the seeds."""
        found: dict[Place, list[float]] = {}
        for row in self.rows:
            found.setdefault(place(row), []).append(row[timing(row)] / row["steps"])
        return {where: median(values) for where, values in found.items()}

    @property
    def accuracies(self) -> dict[int, float]:
        return {row["seed"]: row["accuracy"] for row in self.rows}

    @property
    def accuracy(self) -> float:
        return fmean(self.accuracies.values())

    def mean(self, key: str) -> float:
        return fmean(row[key] for row in self.rows)

    @property
    def scored(self) -> float:
        """Examples that a forward pass was for choosing alone."""
        return fmean(row.get("counts", {}).get("examples_scored", 0) for row in self.rows)

    @property
    def flop(self) -> float | None:
        """FLOP of training and choosing; None where a row does not know."""
        found = [tuple(row.get("flop", {"train": None}).values()) for row in self.rows]
        if any(value is None for values in found for value in values):
            return None
        return fmean(sum(values) for values in found)

    def is_another_length_of(self, other: "Group") -> bool:
        """Whether another run is the same but for the budget."""
        mine, theirs = self.rows[0], other.rows[0]
        if self.method != other.method or (self.time_of or other.time_of) is not None:
            return False
        same = same_but_budget(mine["overrides"], theirs["overrides"])
        return same and self.shares(other, but_budget=True)

    def shares(self, other: "Group", but_budget: bool = False) -> bool:
        """Whether another run has the same model, data and parameters of training."""
        mine, theirs = self.rows[0], other.rows[0]
        if mine["model"] != theirs["model"] or mine["data"]["varied"] != theirs["data"]["varied"]:
            return False
        ours, others = _of_training(mine), _of_training(theirs)
        return same_but_budget(ours, others) if but_budget else ours == others


def _of_training(row: Row) -> Row:
    """Return the parameters that tell what is learned: threads only tell how fast."""
    overrides = row["overrides"].items()
    return {
        key: value
        for key, value in overrides
        if key.startswith("train.") and key != "train.threads"
    }


def grouped(rows: Iterable[Row], experiment: Experiment | None) -> list[Group]:
    """Return the rows by run, in the order of the experiment, or of the rows."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["name"], row["hash"]), []).append(row)
    order = [plan.name for plan in experiment.plans] if experiment else []
    found = [Group(tuple(sorted(part, key=lambda row: row["seed"]))) for part in groups.values()]
    return sorted(found, key=lambda g: order.index(g.name) if g.name in order else len(order))


def paired(first: Group, second: Group) -> tuple[float, float | None] | None:
    """Return the mean difference over shared seeds, and its standard error if there are two."""
    seeds = first.accuracies.keys() & second.accuracies.keys()
    differences = [first.accuracies[seed] - second.accuracies[seed] for seed in sorted(seeds)]
    if not differences:
        return None
    error = stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else None
    return fmean(differences), error


@dataclass(frozen=True)
class Table:
    """Groups beside what they are compared with."""

    groups: Sequence[Group]
    reference: float | None = None
    of_rules: bool = False
    beside: Group | None = None

    def random(self, group: Group) -> Group | None:
        """Plain Random with the same parameters of training, the budget among them."""
        if group.method == "full":
            return None
        return self._first(
            lambda other: other.method == "random" and other.time_of is None and group.shares(other)
        )

    def random_in_its_time(self, group: Group) -> Group | None:
        """Random that was given the time of this run."""
        return self._first(lambda other: other.method == "random" and other.time_of == group.name)

    def full(self, group: Group) -> Group | None:
        """Full training with the same parameters of training but the budget."""
        return self._first(
            lambda other: other.method == "full" and group.shares(other, but_budget=True)
        )

    def relative_error(self, group: Group) -> float | None:
        """|accuracy − full's| / full's, of the means over the seeds."""
        full = self.full(group)
        accuracy = self.reference if full is None else full.accuracy
        return None if accuracy is None else abs(group.accuracy - accuracy) / accuracy

    def steps_to_random(self, group: Group) -> Reached | None:
        """Return the steps at which the run, at any length, has the accuracy of its Random."""
        random = self.random(group)
        lengths = [other for other in self.groups if other.is_another_length_of(group)]
        if random is None or random is group or len(lengths) < 2:
            return None
        return steps_to(random.accuracy, [(one.mean("steps"), one.accuracy) for one in lengths])

    def ratio(self, group: Group) -> float | None:
        """Seconds over Random's, on the same machine."""
        random = self.random(group)
        if random is None:
            return None
        return _over(group, {where: median(found) for where, found in random.seconds.items()})

    def speed_up(self, group: Group) -> tuple[float, bool] | None:
        """Full training's seconds over the group's on the same machine, and whether computed.

        Where full training was not run on the same machine and threads, its steps times Random's
        seconds a step stand for it.
        """
        if (full := self.full(group)) is not None:
            measured = {where: median(found) for where, found in full.seconds.items()}
            if (over := _over(group, measured)) is not None:
                return 1.0 / over, False
        if (random := self.random(group)) is not None:
            steps = group.rows[0]["full_steps"]
            computed = {where: steps * each for where, each in random.seconds_a_step.items()}
            if (over := _over(group, computed)) is not None:
                return 1.0 / over, True
        return None

    def cells(self, group: Group) -> dict[str, str]:
        """Return a row: every column there is, by its name."""
        random, rival = self.random(group), self.random_in_its_time(group)
        trained = _count(group.mean("examples_trained"))
        cells = {
            "run": group.name,
            "accuracy (seeds)": accuracy_cell(group),
            "relative error": _cell(self.relative_error(group), lambda value: f"{value:.2%}"),
            "steps": _count(group.mean("steps")),
            "examples": trained,
            "backpropagated": trained,
            "scored": _count(group.scored) if group.scored else DASH,
            "TFLOP": _cell(group.flop, lambda value: f"{value / 1e12:.1f}"),
            "seconds": self._seconds(group),
            "÷ random": _cell(self.ratio(group), lambda value: f"{value:.2f}"),
            "speed-up over full": _cell(
                self.speed_up(group), lambda pair: f"{pair[0]:.2f}{COMPUTED * pair[1]}"
            ),
            "updates": _count(group.mean("updates")) if group.mean("updates") else DASH,
            "− random": difference_cell(group, random),
            "− random, equal time": difference_cell(group, rival),
            "steps to random's accuracy": reached_cell(self.steps_to_random(group), random),
        }
        if self.beside is not None:
            cells[f"− {self.beside.name}"] = difference_cell(group, self.beside)
        return cells

    @property
    def columns(self) -> tuple[str, ...]:
        """Which of the cells are printed."""
        columns: tuple[str, ...] = RULE_COLUMNS if self.of_rules else COLUMNS
        if all(group.flop is None for group in self.groups):
            columns = tuple(column for column in columns if column != "TFLOP")
        return columns if self.beside is None else (*columns, f"− {self.beside.name}")

    @property
    def machines(self) -> list[str]:
        """What the rows ran on, the first row's first."""
        return list(dict.fromkeys(machine_of(row) for group in self.groups for row in group.rows))

    def _seconds(self, group: Group) -> str:
        """Return the median over the seeds, of each machine apart, in the order of machines."""
        places = sorted(group.seconds, key=lambda where: self.machines.index(where[0]))
        figures = [_figures(median(group.seconds[where])) for where in places]
        return " / ".join(figures) + ("" if group.on_processor else " (wall)")

    def _first(self, wanted: Callable[[Group], bool]) -> Group | None:
        return next((group for group in self.groups if wanted(group)), None)


def _over(group: Group, other: Mapping[Place, float]) -> float | None:
    """Return the median of its seconds over the other's on the same machine; None if none is."""
    ratios = [
        seconds / other[where]
        for where, found in group.seconds.items()
        if where in other
        for seconds in found
    ]
    return median(ratios) if ratios else None


def accuracy_cell(group: Group) -> str:
    """Mean ± sample standard deviation, in percent, and how many seeds."""
    values = [100 * value for value in group.accuracies.values()]
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread} ({len(values)})"


def difference_cell(group: Group, other: Group | None) -> str:
    """Mean difference in points ± its standard error, in paired seeds."""
    if other is None or other is group or (pair := paired(group, other)) is None:
        return DASH
    mean, error = pair
    signed = f"{100 * mean:+.2f}".replace("-", "−")
    return signed + ("" if error is None else f" ± {100 * error:.2f}")


def reached_cell(reached: Reached | None, random: Group | None) -> str:
    """Return a share of Random's steps, in percent."""
    if reached is None or random is None:
        return DASH
    return f"{reached.sign}{reached.steps / random.mean('steps'):.0%}"


def _cell(value: Any, formatted: Callable[[Any], str]) -> str:
    return DASH if value is None else formatted(value)


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _figures(value: float) -> str:
    """Three significant figures, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(
    rows: Sequence[Row],
    experiment: Experiment | None = None,
    of_rules: bool = False,
    beside: str | None = None,
) -> str:
    """Return the table and, below it, what its columns and figures are of.

    Parameters
    ----------
    of_rules
        Whether RULE_COLUMNS are printed.
    beside
        The run that all others are compared with in a column of its own, whatever they differ in.

    Raises
    ------
    ParameterError
        If there is no such run.
    """
    groups = grouped(rows, experiment)
    other = None if beside is None else _named(beside, groups)
    table = Table(groups, experiment.reference if experiment else None, of_rules, other)
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    for group in groups:
        cells = table.cells(group)
        lines.append("| " + " | ".join(cells[column] for column in table.columns) + " |")
    title = [experiment.description, ""] if experiment else []
    return "\n".join([*title, *lines, "", *_notes(table, experiment), *_machines(table)]) + "\n"


def _named(name: str, groups: Sequence[Group]) -> Group:
    for group in groups:
        if group.name == name:
            return group
    names = ", ".join(group.name for group in groups)
    raise ParameterError(f"--beside: '{name}' is not one of {names}")


def _notes(table: Table, experiment: Experiment | None) -> list[str]:
    notes = [
        "Accuracy on the test split, mean ± sample standard deviation over the seeds; differences "
        "in points over the seeds of both, ± standard error; seconds are a median over the seeds."
    ]
    if any(group.on_processor for group in table.groups):
        notes.append(
            "Seconds are of the processor, choosing and training on one thread, unless marked wall."
        )
    if table.of_rules and any(table.steps_to_random(group) for group in table.groups):
        notes.append(
            "Steps to random's accuracy: of the run at all its budgets, each with its schedule "
            "compressed to it, linear in the logarithm of the steps between them; a share of "
            "random's steps."
        )
    if table.of_rules and any(group.scored for group in table.groups):
        notes.append("Scored: examples that went forward only, to be chosen among.")
    if table.of_rules and any(group.flop is not None for group in table.groups):
        notes.append(
            "TFLOP: of training, and of forward passes for choosing; products and convolutions."
        )
    if len(table.machines) > 1:
        notes.append(
            "Seconds on different machines are given apart, in the machines' order below; ÷ random "
            "and speed-up compare runs on the same machine only."
        )
    computed = any((table.speed_up(group) or (0, False))[1] for group in table.groups)
    if computed and not table.of_rules:
        notes.append(
            f"{COMPUTED} computed: full training was not run on the same machine and threads; its "
            "steps times Random's seconds a step stand for it."
        )
    if table.reference is not None and any(table.full(group) is None for group in table.groups):
        notes.append(
            f"Relative error against an accuracy of {table.reference:.2%} from elsewhere, where "
            "full training was not run."
        )
    for group in table.groups:
        if group.time_of is not None:
            notes.append(_given(group))
    if stale := _stale(table.groups, experiment):
        notes.append(f"Of other parameters than the experiment has now: {', '.join(stale)}.")
    return notes


def _given(group: Group) -> str:
    given = group.rows[0]["as_long_as"]
    clock = "processor seconds" if given["clock"] == "cpu_seconds" else "seconds"
    return (
        f"{group.name}: {given['steps']:,} steps fit into {_figures(given['seconds'])} {clock}, "
        f"the mean of {given['runs']} runs of {given['run']}, "
        f"{given['seconds_per_step']:.3g} a step."
    )


def _stale(groups: Sequence[Group], experiment: Experiment | None) -> list[str]:
    if experiment is None:
        return []
    hashes = {plan.name: plan.hash for plan in experiment.plans}
    return [group.name for group in groups if hashes.get(group.name) != group.rows[0]["hash"]]


def _machines(table: Table) -> list[str]:
    """Say what ran where, when, and of which code."""
    rows = [row for group in table.groups for row in group.rows]
    kinds = Counter(machine_of(row) for row in rows)
    commits = sorted({str(row["commit"]) for row in rows})
    dates = sorted(row["date"][:10] for row in rows)
    lines = [
        f"{kinds[machine]} run{'s' * (kinds[machine] != 1)} on {machine}."
        for machine in table.machines
    ]
    if dates:
        days = sorted({dates[0], dates[-1]})
        lines.append(f"{' to '.join(days)}; code {', '.join(commits)}.")
    return lines
