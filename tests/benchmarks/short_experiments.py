"""An experiment of ten steps, and made-up rows of one."""

import signal
from contextlib import contextmanager

SHORT = """
description: ten steps
set:
  train.epochs: 1
  train.budget: 0.25
  train.precision: float32
  train.device: cpu
  train.threads: 1
  crest.subset_size: 64
  crest.threshold: 0.2
seeds: [0, 1]
runs:
"""
RANDOM = "  - {name: random, method: random}\n"
CREST = "  - {name: crest, method: crest}\n"


@contextmanager
def stopping(calls):
    """In place of signals.noted: asks to stop at the given call."""
    asked = iter(range(1, 10**6))
    yield lambda: signal.SIGTERM if next(asked) >= calls else 0


def places(rows):
    return [(row["name"], row["seed"]) for row in rows]


def timeless(row):
    """A row without what no two runs share."""
    kept = {key: value for key, value in row.items() if "seconds" not in key and key != "date"}
    points = [(point["step"], point["accuracy"], point["loss"]) for point in row["curve"]]
    return kept | {"curve": points}


def made_up(name, seed, accuracy, seconds=10.0, steps=100, **changes):
    row = {
        "experiment": "made-up",
        "name": name,
        "method": name.split()[0],
        "model": "convnet",
        "seed": seed,
        "accuracy": accuracy,
        "steps": steps,
        "full_steps": 1000,
        "examples_trained": 32 * steps,
        "updates": 0,
        "seconds": 2 * seconds,
        "cpu_seconds": seconds,
        "as_long_as": None,
        "overrides": {"train.budget": 0.1, "train.threads": 1},
        "hash": name,
        "data": {"varied": {}},
        "curve_split": "validation",
        "curve": [
            {"step": 50, "seconds": 10.0, "cpu_seconds": 5.0, "accuracy": accuracy / 2},
            {"step": 100, "seconds": 20.0, "cpu_seconds": 10.0, "accuracy": accuracy},
        ],
        "device": "cpu",
        "precision": "bf16",
        "machine": {"threads": 1, "cores": 2, "cpu": "some processor", "python": "3.11"},
        "commit": "abc",
        "torch": "2.0",
        "date": "2026-01-01T00:00:00+00:00",
    }
    return row | changes
