"""All rows of rivals-resnet18, for which no processor is fast enough."""

from benchmarks.gpu.queue import Job
from benchmarks.gpu.training import run_plans

TABLE = "rivals-resnet18"
SEEDS = (0, 1, 2)
SMALL = (
    "selective_backprop fresh 10%",
    "random 10%",
    "random in the time of selective_backprop fresh 10%",
)


def run(job: Job) -> bool:
    return run_plans(job, TABLE, SMALL if job.small else None, SEEDS[:1] if job.small else SEEDS)


def report(job: Job) -> str:
    """Say nothing more: main_rows prints the same table."""
    return f"The table is {TABLE}'s, above."
