"""Opening and training on an index of ImageNet's size: seconds and memory, by the number of images.

    python -m benchmarks.memory.encoded --folder SCRATCH

Writes encoded images as `prepare` does: the bytes of a few real JPEG files over and over, so that
the file of bytes is as long as it says (about 10 GB for 1,281,167 images of 256×192 pixels), and
random labels of 1000 classes. Each size is opened and trained on with random mini-batches, random
resized crops and a small convnet in a process of its own, the file dropped from memory before. It
prints the seconds until the data are open and until the first views are there, and the anonymous
memory then, in the middle and at the end; the mapped files' pages are counted apart.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.memory.scale import drop_from_memory, status
from benchmarks.shared.photographs import photographs
from crest.data.augment import Augmentation
from crest.data.files import SCHEMA_VERSIONS, ImageMeta, write_meta
from crest.data.prepared import load
from crest.data.splits import ArrayFile
from crest.data.verifying import with_hashes
from crest.devices.generators import generator_for
from crest.devices.precision import resolve_device, resolve_precision
from crest.methods import METHODS
from crest.models import build
from crest.parameters.sections import TrainParameters
from crest.samplers.base import Context
from crest.training.loop import train

SIZES = (12_800, 1_281_167)
CLASSES, SIDE, BATCH, TEST = 1000, 64, 64, 1000
FILE = (256, 192)  # pixels of a file
QUALITY = 60
DISTINCT = 64
AT_ONCE = 4096  # images written at once
CROPS = Augmentation(flip=True, scale=(0.08, 1.0))


def write(folder: Path, examples: int) -> int:
    """Write prepared data of so many images; returns the bytes of the training images."""
    contents = list(photographs(DISTINCT, FILE, QUALITY))
    lengths = np.array([len(content) for content in contents], dtype=np.int64)
    repeated = np.frombuffer(b"".join(contents), dtype=np.uint8)
    random = np.random.default_rng(0)
    for split, count in (("train", examples), ("test", TEST)):
        with ArrayFile(folder / f"{split}_bytes.npy", np.uint8) as file:
            whole, left = divmod(count, DISTINCT)
            together = np.tile(repeated, AT_ONCE // DISTINCT)
            for _ in range(whole // (AT_ONCE // DISTINCT)):
                file.append(together)
            for _ in range(whole % (AT_ONCE // DISTINCT)):
                file.append(repeated)
            file.append(repeated[: int(lengths[:left].sum())])
        offsets = np.zeros(count + 1, dtype=np.int64)
        offsets[1:] = np.resize(lengths, count).cumsum()
        np.save(folder / f"{split}_offsets.npy", offsets)
        shapes = np.tile(np.array([FILE[1], FILE[0], 1], dtype=np.int32), (count, 1))
        np.save(folder / f"{split}_shapes.npy", shapes)
        np.save(folder / f"{split}_labels.npy", random.integers(0, CLASSES, count))
    meta = ImageMeta(
        schema_version=SCHEMA_VERSIONS["image"],
        kind="image",
        dataset="repeated",
        source="repeated",
        sizes={"train": examples, "test": TEST},
        classes=[str(number) for number in range(CLASSES)],
        image_shape=[SIDE, SIDE, 3],
        mean=[0.5] * 3,
        std=[0.25] * 3,
        content_hash="",
        storage="encoded",
    )
    write_meta(folder, with_hashes(folder, meta))
    return (folder / "train_bytes.npy").stat().st_size


def work(folder: Path, steps: int, connection: Connection) -> None:
    """Open and train; the process that is measured."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {"imported": status("self")}
    started = time.perf_counter()
    data = load(folder, torch.device("cpu"), CROPS)
    found["open seconds"] = time.perf_counter() - started
    found["opened"] = status("self")
    split = data.train
    split.views(torch.arange(BATCH), split.draw_views(BATCH, torch.Generator()))
    found["first views seconds"] = time.perf_counter() - started
    precision = resolve_precision("float32", resolve_device("cpu"))
    parameters = TrainParameters(batch_size=BATCH, precision="float32", device="cpu")
    model = build("convnet", classes=CLASSES, image_shape=(SIDE, SIDE, 3), stem="cifar", seed=0)
    method = METHODS["random"]
    context: Context[Any] = Context(
        model=model,
        train=split,
        steps=steps,
        batch_size=BATCH,
        precision=precision,
        generator=generator_for(0, "method"),
        parameters=method.parameters(),
    )
    marks = {steps // 4: "a quarter", steps // 2: "half", steps: "end"}

    def advance(taken: int) -> None:
        if taken in marks:
            found[marks[taken]] = status("self")

    train(model, method.build(context), split, None, steps, parameters, precision, advance)
    connection.send(found)
    os._exit(0)  # the check of all bytes goes on in a thread


def main() -> None:
    """Measure each size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where there is room for the data")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--examples", type=int, nargs="+", default=list(SIZES))
    arguments = parser.parse_args()
    marks = ("imported", "opened", "a quarter", "half", "end")
    print(f"| images | GB | open s | first views s | {' | '.join(marks)} | mapped |")
    print("|" + "---|" * (5 + len(marks)))
    for examples in arguments.examples:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            size = write(folder, examples)
            drop_from_memory(folder)
            spawning = multiprocessing.get_context("spawn")
            connection, other = spawning.Pipe()
            process = spawning.Process(target=work, args=(folder, arguments.steps, other))
            process.start()
            found = connection.recv()
            process.join()
            memory = " | ".join(f"{found[mark][0] / 1e6:.0f}" for mark in marks)
            print(
                f"| {examples:,} | {size / 1e9:.2f} | {found['open seconds']:.2f} | "
                f"{found['first views seconds']:.2f} | {memory} | {found['end'][1] / 1e6:.0f} |",
                flush=True,
            )
    print("anonymous memory and mapped pages in MB")


if __name__ == "__main__":
    main()
