"""Whether this checkout's runs end with the same weights and tables as those of another checkout.

    git worktree add ../before COMMIT
    python -m benchmarks.robustness.same_results ../before --out same_results.json

Both prepare the bundled digits and train with each method, as published, with the defaults and with
the focus, for the same parameters and seed. Compared are the tensors of the model, bit for bit, and
every column that the older tables have, timings aside. Prints a table; exits with 1 if anything
differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors.torch import load_file

from benchmarks import ROOT
from crest import economical
from crest.methods.crest import CrestParameters
from crest.parameters.renamed import KEYS, VALUES
from crest.parameters.section import nested, put

SETTINGS = {
    "prepare": {"dataset": "digits"},
    "train": {
        "epochs": 4.0,
        "budget": 0.25,
        "batch_size": 32,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
        "validations": 2,
        "snapshots": 2,
    },
}
ECONOMICAL = {**economical(32)}
PUBLISHED = {"subset_size": 64}
METHODS = (
    "full",
    "random",
    "sgd",
    "large",
    "stratified",
    "focused",
    "greedy",
    "craig",
    "gradmatch",
    "glister",
    "crest",
)
TABLES = ("steps", "coresets", "regions", "examples", "validation")


@dataclass(frozen=True)
class Compared:
    """One run in both checkouts: what differs, empty where nothing does."""

    run: str
    tensors: int
    tables: int
    different: list[str]


def runs() -> list[tuple[str, str, Mapping[str, object]]]:
    """Name, method and parameters of crest of each run."""
    published: Mapping[str, object] = PUBLISHED
    plain = [(method, method, published) for method in METHODS]
    return [*plain, ("crest, economical", "crest", ECONOMICAL)]


def train(checkout: Path, project: Path, method: str, crest: Mapping[str, object]) -> Path:
    """Train with the code of a checkout; returns the folder of the run."""
    values = {**SETTINGS, "crest": nested(CrestParameters, crest), "greedy": {"subset_size": 64}}
    if not (checkout / "crest" / "parameters" / "renamed.py").exists():
        values = as_before(values)
    (project / "params.yaml").write_text(json.dumps(values))
    if not (project / "data" / "prepared").exists():
        call(checkout, project, "prepare")
    call(checkout, project, "train", "--method", method)
    return project / "artifacts" / "train" / method


def as_before(values: dict[str, Any]) -> dict[str, Any]:
    """Return parameters by the names of a checkout from before keys stood in groups."""
    old = {new: then for then, new in KEYS.items()}
    found: dict[str, Any] = {}
    for key, value in leaves(values):
        values_then = {now: then for then, now in VALUES.get(key, {}).items()}
        put(found, old.get(key, key), values_then.get(value, value) if values_then else value)
    return found


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield keys and values, those in groups with dots."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def call(checkout: Path, project: Path, *arguments: str) -> None:
    """Run a command of a checkout in a project."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(checkout / "cli.py"), *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)} failed:\n{done.stderr}")


def compare(name: str, before: Path, now: Path) -> Compared:
    """Compare what two runs left behind."""
    tensors = [load_file(folder / "model.safetensors") for folder in (before, now)]
    different = [
        f"model: {key}"
        for key, value in tensors[0].items()
        if key not in tensors[1] or not torch.equal(value, tensors[1][key])
    ]
    tables = [table for table in TABLES if (before / f"{table}.parquet").exists()]
    for table in tables:
        frames = [pl.read_parquet(folder / f"{table}.parquet") for folder in (before, now)]
        for column in frames[0].columns:
            if column.startswith("seconds"):
                continue
            if column not in frames[1] or not frames[0][column].equals(frames[1][column]):
                different.append(f"{table}: {column}")
    return Compared(name, len(tensors[0]), len(tables), different)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="A checkout of an earlier commit.")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    print("run               tensors  tables  different")
    with tempfile.TemporaryDirectory() as folder:
        projects = [Path(folder) / name for name in ("before", "now")]
        for project in projects:
            project.mkdir()
        for name, method, crest in runs():
            checkouts = (arguments.before.resolve(), ROOT)
            left, right = (
                train(checkout, project, method, crest)
                for checkout, project in zip(checkouts, projects, strict=True)
            )
            row = compare(name, left, right)
            rows.append(row)
            different = ", ".join(row.different) or "nothing"
            print(f"{name:18}{row.tensors:7}{row.tables:8}  {different}", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    sys.exit(any(row.different for row in rows))


if __name__ == "__main__":
    main()
