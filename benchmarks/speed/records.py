"""What recording costs a sampler of batches by losses: processor time a step, bytes an example.

    python -m benchmarks.speed.records --runs 5

Times `update` and drawing the next batch apart, on a thread of its own processor time, as rounds
of counting come now and then; the middle of five runs' means. No model is trained.
"""

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from crest import LossBatchSampler

EXAMPLES, BATCH = 50_000, 128
REPORTED = ("nothing recorded", "losses", "and correct", "and classes")


def outcome(reported: str, classes: Tensor) -> tuple[Tensor, ...]:
    """Return what is reported beside the losses; class 9 is wrong."""
    known = {"and correct": (classes < 9,), "and classes": (classes < 9, classes)}
    return known.get(reported, ())


def microseconds(reported: str, steps: int) -> tuple[float, float]:
    """Return the mean processor time of a report, and of drawing a batch."""
    sampler = LossBatchSampler(EXAMPLES, BATCH, steps, record=reported != REPORTED[0])
    losses, classes = torch.rand(EXAMPLES), torch.randint(10, (EXAMPLES,))
    batches, drawing, updating = iter(sampler), 0.0, 0.0
    for _ in range(steps):
        begin = time.thread_time()
        indices = torch.tensor(next(batches))
        drawn = time.thread_time()
        more, values = outcome(reported, classes[indices]), losses[indices]
        ready = time.thread_time()
        sampler.update(indices, values, *more)
        drawing, updating = drawing + drawn - begin, updating + time.thread_time() - ready
    return updating / steps * 1e6, drawing / steps * 1e6


def stored(value: Any) -> int:
    """Return the bytes of the tensors of a state."""
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(stored, value.values())) if isinstance(value, Mapping) else 0


def bytes_of_records(reported: str) -> float:
    """Return the bytes an example of what is recorded."""
    sampler = LossBatchSampler(EXAMPLES, BATCH, 200, record=True)
    for indices in sampler:
        sampler.update(
            indices, torch.ones(BATCH), *outcome(reported, torch.zeros(BATCH, dtype=torch.int64))
        )
    return stored(sampler.state_dict()["reports"]["records"]) / EXAMPLES


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    taken: dict[str, list[tuple[float, float]]] = {reported: [] for reported in REPORTED}
    for _ in range(arguments.runs):
        for reported in REPORTED:
            taken[reported].append(microseconds(reported, arguments.steps))
    print("| reported | update, µs | draw, µs | bytes an example |\n|---|---|---|---|")
    for reported, runs in taken.items():
        updating, drawing = (statistics.median(column) for column in zip(*runs, strict=True))
        size = 0 if reported == REPORTED[0] else bytes_of_records(reported)
        print(f"| {reported} | {updating:.0f} | {drawing:.0f} | {size:.0f} |")


if __name__ == "__main__":
    main()
