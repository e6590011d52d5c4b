"""Peak memory of prepare and train, for a data set of CIFAR-10's size and one ten times as large.

    python -m benchmarks.memory.stages --out memory.json

Writes synthetic data sets of 32x32 colour images in the Parquet layout of the Hugging Face hub to a
temporary folder (a few distinct images, repeated), runs the two stages as a user would, and samples
their memory. Anonymous memory is what a process needs for itself; resident memory also counts the
pages of mapped files, which the system takes back when it needs them. Prints a table.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.shared.stage_memory import Usage, measure
from benchmarks.shared.synthetic import write_split

SIDE = 32
TEST = 10_000  # examples
STEPS = 20  # of training
BATCH = 128
SUBSET = 500


def write_parameters(folder: Path, examples: int, model: str) -> None:
    """Write a parameter file whose training takes the same steps for any number of examples."""
    prepare = {"dataset": "parquet", "source": str(folder / "source")}
    train = {
        "model": model,
        "batch_size": BATCH,
        "epochs": 10.0 * STEPS * BATCH / (0.9 * examples),
        "budget": 0.1,
        "augment_crop": 4,
        "augment_flip": True,
        "validations": 1,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
    }
    crest = {"subset_size": SUBSET, "minibatch_factor": 1.0, "threshold": 0.01}
    run = {"methods": ["crest"], "save_interval": 1.0}
    text = json.dumps({"prepare": prepare, "train": train, "run": run, "crest": crest})
    (folder / "params.yaml").write_text(text)


def run(examples: int, model: str) -> list[Usage]:
    """Measure both stages on a data set of so many training images, all of them removed after."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "source").mkdir()
        write_split(project / "source", "train", examples, SIDE)
        write_split(project / "source", "test", TEST, SIDE)
        write_parameters(project, examples, model)
        return [
            measure(project, examples, "prepare"),
            measure(project, examples, "train", "--method", "crest"),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--model", default="convnet")
    parser.add_argument("--out", type=Path, help="where to write the table as JSON")
    arguments = parser.parse_args()
    usages = [usage for examples in arguments.examples for usage in run(examples, arguments.model)]
    print(
        f"{'stage':8} {'images':>8} {'arrays':>10} {'anonymous':>11} {'resident':>10} {'time':>8}"
    )
    for usage in usages:
        arrays = (usage.examples + TEST) * (SIDE * SIDE * 3 + 8) / 2**20
        print(
            f"{usage.stage:8} {usage.examples:8} {arrays:6.0f} MiB {usage.anonymous:7.0f} MiB "
            f"{usage.resident:6.0f} MiB {usage.seconds:6.1f} s"
        )
    for stage in ("prepare", "train"):
        found = [usage for usage in usages if usage.stage == stage]
        first, last = found[0], found[-1]
        if last.examples > first.examples:
            growth = (last.anonymous - first.anonymous) * 2**20 / (last.examples - first.examples)
            print(f"{stage}: anonymous memory grows by {growth:.0f} bytes an example")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps([asdict(usage) for usage in usages], indent=2) + "\n")


if __name__ == "__main__":
    main()
