"""Where a step's time goes: the host's functions, and how long the device works in it.

The host's are of cProfile, which slows calls down: shares say more than sums. The device's are the
sum over its kernels, of steps that are not profiled by Python.
"""

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity

from benchmarks.gpu.parts.steps import Bench
from benchmarks.gpu.queue import Job, Row, table
from benchmarks.speed.overhead import work_of

METHODS = ("random", "focused", "crest")
FUNCTIONS = 40  # those in which most time is spent, with what they call
DEVICE = "device"


def run(job: Job) -> bool:
    methods = METHODS[:1] if job.small else METHODS
    missing = job.missing([f"{method}, {side}" for method in methods for side in ("host", DEVICE)])
    bench = Bench(job) if missing else None
    for name in missing:
        if job.left < 0:
            return False
        assert bench is not None
        method, side = name.split(", ")
        found = device_time(bench, method) if side == DEVICE else host_times(bench, method)
        job.add(name, **found)
    return True


def host_times(bench: Bench, method: str) -> Row:
    """Return the milliseconds a step of functions, with what they call."""
    profiler = cProfile.Profile()
    _between(bench, method, profiler.enable, profiler.disable)
    stats = pstats.Stats(profiler)
    steps = bench.block * bench.count
    times = {
        f"{Path(file).parent.name}/{Path(file).name}:{name}": 1000 * cumulative / steps
        for (file, _, name), (_, _, _, cumulative, _) in stats.stats.items()  # type: ignore[attr-defined]
    }
    largest = sorted(times.items(), key=lambda item: -item[1])[:FUNCTIONS]
    return {"functions": {name: round(ms, 4) for name, ms in largest}}


def device_time(bench: Bench, method: str) -> Row:
    """Return the milliseconds a step that kernels take, and how many there are."""
    cuda = bench.precision.device.type == "cuda"
    activity = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    profiler = torch.profiler.profile(activities=[activity], acc_events=True)
    _between(bench, method, profiler.start, profiler.stop)
    steps = bench.block * bench.count
    events = profiler.key_averages()
    attribute = "self_device_time_total" if cuda else "self_cpu_time_total"
    microseconds = sum(getattr(event, attribute) for event in events)
    return {
        "ms": microseconds / 1000 / steps,
        "kernels": sum(event.count for event in events) / steps,
    }


def _between(
    bench: Bench, method: str, start: Callable[[], object], stop: Callable[[], object]
) -> None:
    """Train, with something begun after the warm-up and ended after the last step."""
    steps = bench.warm_up + bench.count * bench.block

    def advance(taken: int) -> None:
        if taken == bench.warm_up:
            bench.now()
            start()
        elif taken == steps:
            bench.now()
            stop()

    work_of(bench.parameters, method, bench.data, bench.precision, steps)(advance)


def report(job: Job) -> str:
    rows = job.rows()
    device = [row for row in rows if "ms" in row]
    lines = [table(device, ("name", "ms", "kernels"))] if device else []
    for row in rows:
        if "functions" in row:
            lines.append(f"\n{row['name']}, ms a step under cProfile:\n")
            lines += [f"- {ms:.3f} {name}" for name, ms in row["functions"].items()]
    return "\n".join(lines)
