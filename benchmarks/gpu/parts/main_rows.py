"""ResNet-18 and ResNet-20 at 10% and 20% of the steps: ours, beside random and InfoBatch."""

from itertools import product

from benchmarks.gpu.queue import Job
from benchmarks.gpu.training import run_plans, tables

METHODS = ("random", "adaptive", "focused alone", "infobatch", "crest")
TABLES = ("rivals-resnet18", "rivals-resnet20")
SEEDS = (0, 1, 2)
BUDGETS = ("10%", "20%")


def run(job: Job) -> bool:
    count = 1 if job.small else None
    for seed, budget in product(SEEDS[:count], BUDGETS[:count]):
        names = [f"{method} {budget}" for method in METHODS]
        # What is left of one table may be too long where the other's is not.
        if not all([run_plans(job, name, names, [seed]) for name in TABLES[:count]]):
            return False
    return True


def report(job: Job) -> str:
    return tables(job, TABLES)
