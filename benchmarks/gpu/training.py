"""Runs of benchmarks/experiments/definitions, one at a time, as long as another fits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from benchmarks.experiments import commands, experiment
from benchmarks.experiments.experiment import Experiment, Plan
from benchmarks.experiments.rows import Row, Rows, of_plan
from benchmarks.experiments.runner import Runner, in_order, warm_up
from benchmarks.experiments.tables import markdown
from benchmarks.gpu.project import project
from benchmarks.gpu.queue import Job
from crest.config import Parameters
from crest.data.files import read_meta
from crest.errors import Interrupted
from crest.pipeline import signals
from crest.training.schedules import budget_steps, total_steps

# Of --small: a step or two each, on 160 images.
SMALL = {"model": "resnet20", "batch_size": 8, "epochs": 1.0, "precision": "float32"}
SMALL_CREST = {"subset_size": 32}


@dataclass(frozen=True)
class Stamped:
    """The rows of an experiment, with the commit of the code where git cannot say it."""

    rows: Rows
    commit: str | None

    def read(self) -> list[Row]:
        return self.rows.read()

    def add(self, row: Row) -> None:
        self.rows.add({**row, "commit": row["commit"] or self.commit})


def rows_of(job: Job, name: str) -> Rows:
    """Return the rows of an experiment, in the form of docs/results."""
    return Rows(job.out / f"{name}.jsonl")


def run_plans(job: Job, name: str, patterns: Sequence[str] | None, seeds: Sequence[int]) -> bool:
    """Run what has no row yet, seed by seed; whether all rows are there.

    A run is not begun where the time does not allow it, by those of its model so far; one that
    fails stops no other.

    Raises
    ------
    RuntimeError
        At the end, if any failed.
    """
    chosen = known(job, name, seeds)
    names = commands.matching([plan.name for plan in chosen.plans], patterns)
    rows = rows_of(job, name)
    left = [run for run in in_order([chosen.plan(name) for name in names]) if not done(rows, *run)]
    if not left:
        return True
    paths = project(job, chosen.plans[0].parameters.prepare)
    meta = read_meta(paths.prepared)
    warm_up()
    runner = Runner(
        chosen,
        paths,
        meta.content_hash,
        job.work / "runs" / name,
        cast(Rows, Stamped(rows, job.commit)),
        lambda line: print(line, flush=True),
    )
    failed = []
    for plan, seed in left:
        if not fits(job, rows.read(), plan, meta.sizes["train"]):
            return False
        try:
            with signals.raising():
                if not runner.run([replace(plan, seeds=(seed,))]):
                    failed.append(f"{plan.name}, seed {seed}")
        except Interrupted as interrupted:
            print(interrupted, flush=True)
            return False
    if failed:
        raise RuntimeError(f"{name}: {'; '.join(failed)}: the output says why")
    return True


def known(job: Job, name: str, seeds: Sequence[int] | None = None) -> Experiment:
    """Return an experiment, its runs of a step or two where that will do."""
    found = commands.known(name, seeds)
    if not job.small:
        return found
    return replace(
        found, plans=tuple(replace(p, parameters=small(p.parameters)) for p in found.plans)
    )


def small(parameters: Parameters) -> Parameters:
    """Return parameters of a run of a second."""
    return experiment.changed(parameters, train=SMALL, crest=SMALL_CREST)


def done(rows: Rows, plan: Plan, seed: int) -> bool:
    """Whether a run has a row, with the parameters that it has now."""
    return any(row["seed"] == seed for row in of_plan(rows.read(), plan))


def fits(job: Job, rows: Sequence[Row], plan: Plan, examples: int) -> bool:
    """Whether a run may end in time; one of a model that has no row yet may."""
    train = plan.parameters.train
    same = [row for row in rows if row["method"] == plan.method] or list(rows)
    if not same:
        return job.left > 0
    steps = budget_steps(train.budget, total_steps(train.epochs, examples, train.batch_size))
    needed = steps * max(row["seconds"] / row["steps"] for row in same)
    if fitting := needed < job.left:
        return fitting
    print(f"{plan.name}: not begun: {needed:.0f} s, and {job.left:.0f} are left", flush=True)
    return False


def tables(job: Job, names: Sequence[str]) -> str:
    """Return the tables of experiments that have rows."""
    found = [(name, rows_of(job, name).read()) for name in names]
    return "\n\n".join(
        f"### {name}\n\n{markdown(rows, known(job, name), True, None)}"
        for name, rows in found
        if rows
    )
