"""airbench's recipes as its package has them: accuracy and seconds on this device.

Its loaders read train.pt and test.pt in a folder ``cifar10`` of the current one, written here from
the prepared data. A run is called, not copied: train94, train95, train96.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from benchmarks.experiments import commands
from benchmarks.gpu.hardest import HardestHalf
from benchmarks.gpu.project import project
from benchmarks.gpu.queue import Job, table
from crest.data.files import read_meta

RECIPES = ("94", "95", "96")
RUNS = {"94": 10, "95": 3, "96": 2}
TTA_LEVEL = 2  # of all three recipes


@dataclass(frozen=True)
class Choice:
    """What a recipe trains on.

    Attributes
    ----------
    of
        From a recipe's loader and the epochs to what yields batches of images and labels, with the
        attributes of the loader.
    longer
        How many times the recipe's epochs are made.
    """

    of: Callable[[Any, float], Any]
    longer: float = 1.0


# A choice here is a row beside "all". Of 45 epochs of half batches the record makes what its recipe
# makes of 37.
CHOICES: Mapping[str, Choice] = MappingProxyType(
    {
        "all": Choice(lambda loader, epochs: loader),
        "hardest half by a proxy": Choice(HardestHalf, longer=45 / 37),
    }
)


def run(job: Job) -> bool:
    names = {
        f"airbench{recipe} {choice}, run {number}": (recipe, choice)
        for recipe in RECIPES
        for choice in CHOICES
        for number in range(1 if job.small else RUNS[recipe])
    }
    missing = job.missing([*names])
    if not missing:
        return True
    import airbench

    folder = job.work / ("airbench-small" if job.small else "airbench")
    write_arrays(job, folder / "cifar10")
    os.chdir(folder)  # train() opens its test loader in the current folder
    warmed: set[str] = set()
    for name in missing:
        recipe, choice = names[name]
        if recipe not in warmed:
            one_run(airbench, recipe, choice, job.small, epochs=1.0)
            warmed.add(recipe)
        if job.left < 0:
            return False
        result = one_run(airbench, recipe, choice, job.small, 1.0 if job.small else None)
        job.add(name, recipe=recipe, choice=choice, **result)
    return True


def one_run(
    airbench: Any, recipe: str, choice: str, small: bool, epochs: float | None = None
) -> dict[str, float]:
    """Train once; the seconds are the clock's, the choice's own work included."""
    chosen = CHOICES[choice]
    library = getattr(airbench, f"lib_airbench{recipe}")
    device: Any = "cpu" if small else 0
    settings = library.hyp
    size = 16 if small else settings["opt"]["batch_size"]
    loader = airbench.CifarLoader(
        "cifar10", train=True, batch_size=size, aug=settings["aug"], altflip=True, gpu=device
    )
    _wait(small)
    started = time.perf_counter()
    train = getattr(airbench, f"train{recipe}")
    epochs = epochs or chosen.longer * settings["opt"]["train_epochs"]
    model = train(chosen.of(loader, epochs), epochs=epochs, verbose=False)
    _wait(small)
    seconds = time.perf_counter() - started
    test = airbench.CifarLoader("cifar10", train=False, batch_size=2000, gpu=device)
    return {"seconds": seconds, "accuracy": airbench.evaluate(model, test, tta_level=TTA_LEVEL)}


def write_arrays(job: Job, folder: Path) -> None:
    """Write the files that airbench would download; training is on all of the images."""
    if (folder / "test.pt").exists():
        return
    settings = commands.known("rivals-resnet20").plans[0].parameters.prepare
    prepared = project(job, settings).prepared
    classes = list(read_meta(prepared).classes)
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        images, labels = (
            torch.from_numpy(np.load(prepared / f"{split}_{what}.npy"))
            for what in ("images", "labels")
        )
        content = {"images": images, "labels": labels.long(), "classes": classes}
        torch.save(content, folder / f"{split}.pt")


def _wait(small: bool) -> None:
    if not small:
        torch.cuda.synchronize()


def report(job: Job) -> str:
    """Return a row for each recipe and choice: means over the runs."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in job.rows():
        groups.setdefault((row["recipe"], row["choice"]), []).append(row)
    means = [
        {
            **rows[0],
            "recipe": recipe,
            "runs": len(rows),
            **{key: float(np.mean([row[key] for row in rows])) for key in ("accuracy", "seconds")},
        }
        for (recipe, choice), rows in groups.items()
    ]
    return table(means, ("recipe", "choice", "runs", "accuracy", "seconds")) if means else ""
