"""Runs of an experiment, one after another: what has no row yet is trained, and gets its row."""

import fcntl
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import cast

import torch

from benchmarks.experiments import experiment
from benchmarks.experiments.experiment import Experiment, Plan, same_but_budget
from benchmarks.experiments.metering import Meter, MeteredCheckpoint, UnmeteredSplit
from benchmarks.experiments.rows import Row, Rows, identity, of_plan
from benchmarks.experiments.tables import place
from benchmarks.experiments.variations import varied
from benchmarks.shared.machine import describe
from crest import artifacts
from crest.config import Parameters
from crest.data.prepared import Prepared
from crest.devices.precision import Precision
from crest.errors import ArtifactError, CrestError, Interrupted, ParameterError
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.methods import METHODS
from crest.pipeline import signals
from crest.pipeline.inputs import configure_torch, prepared_data, run_precision
from crest.pipeline.paths import Paths
from crest.pipeline.provenance import git_commit
from crest.pipeline.resume import checkpoint_for
from crest.pipeline.runs import Trained, train_model
from crest.pipeline.saved_coresets import read_coresets
from crest.samplers.saved import SavedCoresets
from crest.training.recorder import spaced_steps
from crest.training.schedules import budget_steps, total_steps
from crest.training.state import Checkpoint

CURVE_POINTS = 20
COMMIT = git_commit()  # of the code that was loaded, whatever becomes of the files meanwhile
THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class Runner:
    """Runs an experiment's plans on the data of a project, whose content hash is ``prepared``."""

    experiment: Experiment
    paths: Paths
    prepared: str
    keep: Path
    rows: Rows
    say: Callable[[str], None]

    def run(self, selected: Sequence[Plan], fresh: bool = False) -> bool:
        """Run what has no row yet; whether all of it succeeded.

        Raises
        ------
        ParameterError
            If a selected run cannot be run at all; nothing is run then.
        Interrupted
            If a signal asks to stop; the state of the run is saved.
        """
        for plan in selected:
            experiment.check_method(plan)
        failed = 0
        for plan, seed in in_order(selected):
            try:
                self._unless_done(plan, seed, fresh)
            except CrestError as error:
                failed += 1
                self.say(f"{plan.name}, seed {seed}: failed: {error}")
        return not failed

    def _unless_done(self, plan: Plan, seed: int, fresh: bool) -> None:
        title = f"{plan.name}, seed {seed}"
        with self._claimed(plan, seed) as claimed:
            if not claimed:
                self.say(f"{title}: another process is at it")
                return
            mine = (self.experiment.name, plan.name, seed)
            for row in self.rows.read():
                if identity(row) != mine:
                    continue
                if not (changes := self._changes(row, plan)):
                    self.say(f"{title}: done")
                    return
                self.say(f"{title}: runs again, for other {', '.join(changes)}")
            self._run_one(plan, seed, fresh)

    def _changes(self, row: Row, plan: Plan) -> list[str]:
        """Name what a row's run had otherwise than the plan's would have it."""
        changes = ["prepared data"] if row["data"]["prepared"] != self.prepared else []
        if row["hash"] == plan.hash:
            return changes
        keys = sorted(row["overrides"].keys() | plan.overrides.keys())
        own = [key for key in keys if row["overrides"].get(key) != plan.overrides.get(key)]
        return changes + (own or ["method, data or source"])

    def _run_one(self, plan: Plan, seed: int, fresh: bool) -> None:
        """Train and evaluate a run, from the start or from its saved state, and save its row."""
        torch.set_num_threads(THREADS)
        parameters = plan.seeded(seed)
        configure_torch(parameters)
        precision = run_precision(parameters)
        data = varied(prepared_data(parameters, self.paths, precision.device), plan.data)
        self._check(data, parameters)
        settings = parameters.train
        full_steps = total_steps(settings.epochs, len(data.train), settings.batch_size)
        given = None if plan.as_long_as is None else self._time_given(plan, plan.as_long_as)
        if given is not None:
            parameters = with_steps(parameters, given["steps"], full_steps, len(data.train))
        saved = None
        if plan.coresets_of is not None:
            source = self.experiment.plan(plan.coresets_of)
            chosen = self._chosen_by(source, seed)
            saved = read_coresets(chosen, data, settings.batch_size)
        with signals.noted() as stop:
            state = self.keep / f"{plan.folder}-{seed}.safetensors"
            checkpoint = checkpoint_for(
                state, parameters, plan.method, data.meta, precision, saved, stop
            )
            if fresh:
                checkpoint.remove()
            trained, meter, marks = metered_training(
                parameters, data, plan.method, precision, saved, checkpoint
            )
            evaluation = evaluate(
                Evaluator(trained.model, data.test, precision), parameters.evaluate.batch_size
            )
            write_tables(trained, self._kept(plan, seed))
            row = {
                **self._about(plan, parameters, data),
                "accuracy": evaluation.accuracy,
                "loss": evaluation.loss,
                **cost(trained, full_steps),
                "cpu_seconds": meter.seconds,
                "as_long_as": given,
                "curve_split": "train" if data.validation is None else "validation",
                "curve": curve(trained, marks),
                **environment(precision),
            }
            self.rows.add(row)
            checkpoint.remove()
            self.say(f"{plan.name}, seed {seed}: {evaluation.accuracy:.2%} in {row['steps']} steps")
        if signal_number := stop():
            raise Interrupted(signal_number, "stopped between two runs")

    def _about(self, plan: Plan, parameters: Parameters, data: Prepared) -> Row:
        """Return what was run: the part of a row that is known before."""
        return {
            "experiment": self.experiment.name,
            "name": plan.name,
            "method": plan.method,
            "model": parameters.train.model,
            "seed": parameters.train.seed,
            "coresets_of": plan.coresets_of,
            "overrides": plan.overrides,
            "hash": plan.hash,
            "data": {
                "dataset": data.meta.dataset,
                "prepared": self.prepared,
                "sizes": data.meta.sizes,
                "varied": plan.data.model_dump(exclude_defaults=True),
            },
        }

    def _check(self, data: Prepared, parameters: Parameters) -> None:
        """Refuse data that the experiment is not about."""
        expected = parameters.prepare.dataset
        if data.meta.dataset != expected:
            raise ParameterError(
                f"{self.paths.prepared}: holds {data.meta.dataset}, the experiment is of {expected}"
            )
        if (data.validation is None) != (parameters.prepare.validation == 0.0):
            raise ParameterError(
                f"{self.paths.prepared}: prepare.validation is {parameters.prepare.validation} in "
                "the experiment, and the data were prepared otherwise"
            )

    def _time_given(self, plan: Plan, name: str) -> Row:
        """Return how many steps fit into the time of another run; found once, for all seeds."""
        path = self.keep / f"{plan.folder}.json"
        if path.exists() and (found := artifacts.read_json(path))["hash"] == plan.hash:
            return found["given"]
        source = self.experiment.plan(name)
        rows = self.rows.read()
        if earlier := of_plan(rows, plan):
            return earlier[0]["as_long_as"]
        plain = [
            row
            for other in self.experiment.plans
            if other.method == plan.method
            and other.as_long_as is None
            and other.data == plan.data
            and same_but_budget(other.overrides, plan.overrides)
            for row in of_plan(rows, other)
        ]
        given = fitting_steps(of_plan(rows, source), plain, source.name, plan.method)
        artifacts.write_json(path, {"hash": plan.hash, "given": given})
        return given

    def _chosen_by(self, source: Plan, seed: int) -> Path:
        """Return the folder of the coresets that a finished run with the same seed chose."""
        run = f"'{source.name}' with seed {seed}"
        if not any(row["seed"] == seed for row in of_plan(self.rows.read(), source)):
            raise ArtifactError(f"no finished run of {run} as it is now; run it first")
        folder = self._kept(source, seed)
        if not folder.is_dir():
            raise ArtifactError(
                f"{folder}: no such folder; it holds what {run} chose: name the folder of that run "
                f"(--keep), or remove its row from {self.rows.path} and run it again"
            )
        return folder

    def _kept(self, plan: Plan, seed: int) -> Path:
        """Return the folder of the tables that a run leaves for others."""
        return self.keep / f"{plan.folder}-{seed}"

    @contextmanager
    def _claimed(self, plan: Plan, seed: int) -> Iterator[bool]:
        """Keep a run from other processes; whether none has it."""
        self.keep.mkdir(parents=True, exist_ok=True)
        with (self.keep / f"{plan.folder}-{seed}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def in_order(plans: Sequence[Plan]) -> Iterator[tuple[Plan, int]]:
    """Yield the runs, all of a seed before the next; those given another's time come last."""
    for last in (False, True):
        part = [plan for plan in plans if (plan.as_long_as is not None) == last]
        for seed in dict.fromkeys(seed for plan in part for seed in plan.seeds):
            yield from ((plan, seed) for plan in part if seed in plan.seeds)


def fitting_steps(source: Sequence[Row], plain: Sequence[Row], name: str, method: str) -> Row:
    """Return how many steps of plain runs take as long as the source's runs do on average.

    Raises
    ------
    ArtifactError
        If there is no row to take either time from, or no machine that both ran on.
    """
    for rows, what in ((source, f"'{name}'"), (plain, f"plain {method} with the same parameters")):
        if not rows:
            raise ArtifactError(f"no finished run of {what}, whose time is needed; run it first")
    shared = {place(row) for row in source} & {place(row) for row in plain}
    if not shared:
        raise ArtifactError(f"'{name}' and plain {method} ran on different machines or threads")
    places = Counter(place(row) for row in (*source, *plain))
    where = max(sorted(shared), key=lambda found: places[found])  # seconds of one machine compare
    source = [row for row in source if place(row) == where]
    plain = [row for row in plain if place(row) == where]
    clock = where[1]
    seconds = fmean(row[clock] for row in source)
    a_step = fmean(row[clock] / row["steps"] for row in plain)
    return {
        "run": name,
        "runs": len(source),
        "clock": clock,
        "seconds": seconds,
        "seconds_per_step": a_step,
        "steps": max(1, int(seconds / a_step)),
    }


def with_steps(parameters: Parameters, steps: int, full_steps: int, examples: int) -> Parameters:
    """Return parameters of a run of so many steps, more epochs if full training has fewer."""
    if steps <= full_steps:
        return experiment.changed(parameters, train={"budget": steps / full_steps})
    epochs = steps * parameters.train.batch_size / examples
    return experiment.changed(parameters, train={"budget": 1.0, "epochs": epochs})


def metered_training(
    parameters: Parameters,
    data: Prepared,
    method: str,
    precision: Precision,
    saved: SavedCoresets | None,
    checkpoint: Checkpoint,
) -> tuple[Trained, Meter, dict[int, float]]:
    """Train as the stage does; also the processor's seconds, and marks of them by steps taken."""
    meter = Meter()
    settings = parameters.train
    steps = total_steps(settings.epochs, len(data.train), settings.batch_size)
    if not METHODS[method].takes_all_steps:
        steps = budget_steps(settings.budget, steps)
    metered = MeteredCheckpoint(checkpoint, meter, curve_steps(steps, settings.validations, data))
    if data.validation is not None:
        data = replace(data, validation=UnmeteredSplit(data.validation, meter))
    # It stands in for the checkpoint that it has.
    trained = train_model(parameters, data, method, precision, saved, cast(Checkpoint, metered))
    meter.off()
    return trained, meter, {**metered.marks, steps: meter.seconds}


def curve_steps(steps: int, validations: int, data: Prepared) -> frozenset[int]:
    """Return the steps taken at the points of a run's curve."""
    validated = data.validation is not None and validations > 0
    return spaced_steps(steps, validations if validated else CURVE_POINTS)


def curve(trained: Trained, marks: dict[int, float]) -> list[Row]:
    """Return the points of a curve: of the validation split, or means over the steps before."""
    table = trained.run.validation
    if not table.is_empty():
        rows = table.select("step", "seconds", "accuracy", "loss").to_dicts()
    else:
        rows = []
        steps = trained.run.steps
        before = 0
        for point in sorted(marks):
            part = steps.slice(before, point - before)
            means = {name: part[name].mean() for name in ("accuracy", "loss")}
            rows.append({"step": point, "seconds": part["seconds"][-1], **means})
            before = point
    return [{**row, "cpu_seconds": marks[row["step"]]} for row in rows]


def cost(trained: Trained, full_steps: int) -> Row:
    """Return what a run took."""
    metrics = trained.metrics
    return {
        "steps": metrics["steps"],
        "full_steps": full_steps,
        "budget": metrics["steps"] / full_steps,
        "examples_trained": metrics["examples_trained"],
        "updates": metrics["regions"],
        "counts": trained.run.record.counts or {},
        "flop": {"train": metrics["flop_train"], "select": metrics["flop_select"]},
        "seconds": metrics["seconds_train"],
        "seconds_by_part": metrics["seconds"],
    }


def environment(precision: Precision) -> Row:
    """Return what else the figures depend on."""
    cuda = precision.device.type == "cuda"
    gpu = {"gpu": torch.cuda.get_device_name(precision.device)} if cuda else {}
    return {
        "device": precision.device.type,
        "precision": precision.name,
        "machine": {**describe(), **gpu},
        "commit": COMMIT,
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_tables(trained: Trained, folder: Path) -> None:
    """Keep what another run may want of this one."""
    if trained.run.record.coresets is None:
        return
    with artifacts.replacing_folder(folder) as partial:
        artifacts.write_table(partial / artifacts.CORESETS, trained.run.record.coresets)
        artifacts.write_table(partial / artifacts.STEPS, trained.run.steps)


def warm_up() -> None:
    """Let torch import what its first optimiser does: seconds that would be the first run's."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
