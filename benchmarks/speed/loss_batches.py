"""Host time and memory of LossBatchSampler, beside torch's RandomSampler with BatchSampler.

    python -m benchmarks.speed.loss_batches --examples 50000 1000000 10000000 --rounds 5

With --infobatch FOLDER, a checkout of github.com/NUS-HPC-AI-Lab/InfoBatch, its sampler too, and
ours by its rule.

In turns, in one process and one thread, by processor time: nanoseconds an index to draw two passes
through the data in batches of 256, the reports left out; microseconds a report; seconds to the
first batch. Memory is the greatest that resident memory rises by in a process of its own, in bytes
an example, from the making of the sampler to the end of its second round.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.data import BatchSampler, RandomSampler

from crest import LossBatchSampler

SIZE = 256
WARM_UP = 2  # turns that do not count


@dataclass(frozen=True)
class Turn:
    """What one pass over the batches took: ns an index, µs a report, s to the first batch."""

    draw: float
    report: float
    first: float


def of_torch(count: int) -> Turn:
    """Draw one pass, which is what their second is again."""
    batches = BatchSampler(RandomSampler(range(count)), SIZE, drop_last=True)
    return _timed(batches, None)


def of_infobatch(count: int, module: Any) -> Turn:
    """Draw two passes of InfoBatch's own, the second by losses."""
    data = module.InfoBatch(range(count), num_epochs=100)
    batches = BatchSampler(data.sampler, SIZE, drop_last=True)
    first = _timed(batches, None)
    data.scores[:] = torch.rand(count, generator=torch.Generator().manual_seed(0)).square()
    second = _timed(batches, None)
    return Turn((first.draw + second.draw) / 2, 0.0, first.first)


def of_ours(count: int, rule: str) -> Turn:
    """Draw two passes, and report losses that are spread as in training."""
    sampler = LossBatchSampler(count, SIZE, 2 * (count // SIZE), rule=rule)
    return _timed(sampler, None if rule == "random" else sampler)


def _timed(batches: Iterable[list[int]], reports: LossBatchSampler | None) -> Turn:
    losses = torch.rand(SIZE, generator=torch.Generator().manual_seed(0)).square() + 0.01
    drawn, reporting, first = 0, 0.0, 0.0
    begun = time.process_time()
    for batch in batches:
        first = first or time.process_time() - begun
        drawn += len(batch)
        if reports is not None:
            at = time.process_time()
            reports.update(batch, losses)
            reporting += time.process_time() - at
    total = time.process_time() - begun
    return Turn((total - reporting) / drawn * 1e9, reporting / (drawn / SIZE) * 1e6, first)


def memory(count: int, rule: str) -> float:
    """Return the bytes an example that a sampler takes at most, in a process of its own."""
    called = rise.__name__
    code = f"from benchmarks.speed.loss_batches import {called}; print({called}({count}, {rule!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(found.stdout)


def rise(count: int, rule: str) -> float:
    """Return by how much the peak of this process rises over two rounds, in bytes an example."""
    torch.set_num_threads(1)
    of_ours(10_000, rule)  # what does not depend on the count
    peak = Path("/proc/self/clear_refs")
    peak.write_text("5")
    before = _status("VmRSS")
    of_ours(count, rule)
    return (_status("VmHWM") - before) * 1024 / count


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, nargs="+", default=[50_000, 1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--infobatch", type=Path, help="a checkout of InfoBatch")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kinds: dict[str, Callable[[int], Turn]] = {"torch": of_torch}
    rules = ["random", "focused"]
    if arguments.infobatch is not None:
        sys.path.append(str(arguments.infobatch))
        module = import_module("infobatch.infobatch")
        kinds["InfoBatch's"] = partial(of_infobatch, module=module)
        rules.append("infobatch")
    kinds |= {rule: partial(of_ours, rule=rule) for rule in rules}
    rows = []
    print(
        "| examples | sampler | ns an index | torch ÷ it | µs a report | first batch, s | bytes |"
    )
    print("|---|---|---|---|---|---|---|")
    for count in arguments.examples:
        turns: dict[str, list[Turn]] = {name: [] for name in kinds}
        for number in range(WARM_UP + arguments.rounds):
            for name, turn in kinds.items():
                found = turn(count)
                if number >= WARM_UP:
                    turns[name].append(found)
        for name, found_turns in turns.items():
            draws = [turn.draw for turn in found_turns]
            ratios = [
                theirs.draw / ours.draw
                for theirs, ours in zip(turns["torch"], found_turns, strict=True)
            ]
            taken = memory(count, name) if name in rules else 0.0
            cells = (
                f"{count:,}", name, f"{median(draws):.1f} ({min(draws):.1f}–{max(draws):.1f})",
                f"{median(ratios):.2f}", f"{median(turn.report for turn in found_turns):.0f}",
                f"{median(turn.first for turn in found_turns):.3f}",
                f"{taken:.1f}" if taken else "",
            )  # fmt: skip
            print("| " + " | ".join(cells) + " |", flush=True)
            rows.append({
                "examples": count, "sampler": name, "bytes": taken,
                "turns": [asdict(turn) for turn in found_turns],
            })  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
