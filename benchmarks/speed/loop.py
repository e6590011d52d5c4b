"""Examples per second of `random` through the training loop, against a loop written by hand.

    python cli.py prepare -S prepare.dataset=cifar10 -S prepare.source=FOLDER
    python -m benchmarks.speed.loop --data data/prepared --out loop.json

Two copies of one network train on CIFAR-10 in one process, in turns: so many steps of
crest.training.loop.train with the method `random` and everything it records, so many steps of a
plain torch loop that takes nothing of the library but the network. Pairs are in the order ours,
bare, bare, ours, so that neither gains from a machine that speeds up or slows down. Saved states
and validation are left out. Also prints which share of a step goes into making the mini-batch:
drawing it, loading it, crops and flips, normalising.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.shared import machine
from crest.data.augment import Augmentation
from crest.data.files import ImageMeta
from crest.data.prepared import Inputs, Split, load
from crest.devices.generators import generator_for
from crest.devices.precision import resolve_device, resolve_precision
from crest.methods import METHODS
from crest.methods.random import RandomParameters
from crest.models import build
from crest.parameters.sections import TrainParameters
from crest.samplers.base import Context, Method
from crest.selection.coresets import MiniBatchCoreset
from crest.training.loop import train

CROP = 4
LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4


@dataclass
class Pair:
    """Seconds of one block of steps of each loop, and of those for making mini-batches.

    The processor's seconds, of all threads, say the same as the clock's on a machine that has
    nothing else to do, and still say something on one that has.
    """

    ours: float = 0.0
    bare: float = 0.0
    ours_loading: float = 0.0
    bare_loading: float = 0.0
    ours_processor: float = 0.0
    bare_processor: float = 0.0

    @property
    def ratio(self) -> float:
        """Examples per second of ours as a share of the bare loop's."""
        return self.bare / self.ours

    @property
    def processor_ratio(self) -> float:
        """The same by the processor's seconds."""
        return self.bare_processor / self.ours_processor


class BareLoop:
    """A training loop as one writes it by hand, augmentation of whole batches included."""

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        batch_size: int,
        precision: str,
        augmented: bool = True,
    ) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        images = torch.from_numpy(np.load(folder / "train_images.npy"))
        self.images = images.permute(0, 3, 1, 2)  # channels last in memory
        self.labels = torch.from_numpy(np.load(folder / "train_labels.npy"))
        self.mean = torch.tensor(meta["mean"]).view(1, -1, 1, 1)
        self.std = torch.tensor(meta["std"]).view(1, -1, 1, 1)
        self.model = model
        self.batch_size = batch_size
        self.bf16 = precision == "bf16"
        self.augmented = augmented
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self.order = torch.randperm(len(self.labels))
        self.place = 0
        self.loss_sum = 0.0
        self.loading = 0.0

    def augment(self, images: Tensor) -> Tensor:
        """Crop and flip each image of a batch on its own."""
        count, _, height, width = images.shape
        padded = F.pad(images, (CROP, CROP, CROP, CROP))
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        top, left = torch.randint(2 * CROP + 1, (2, count))
        cropped = windows[torch.arange(count), :, top, left]
        flip = torch.rand(count) < 0.5
        return torch.where(flip[:, None, None, None], cropped.flip(3), cropped)

    def batch(self) -> tuple[Tensor, Tensor]:
        if self.place + self.batch_size > len(self.order):
            self.order = torch.randperm(len(self.labels))
            self.place = 0
        chosen = self.order[self.place : self.place + self.batch_size]
        self.place += self.batch_size
        images = self.images[chosen]
        if self.augmented:
            images = self.augment(images)
        images = images.to(torch.float32, memory_format=torch.channels_last)
        return images.div_(255).sub_(self.mean).div_(self.std), self.labels[chosen]

    def step(self) -> None:
        started = time.perf_counter()
        images, labels = self.batch()
        self.loading += time.perf_counter() - started
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.loss_sum += loss.item()


@dataclass
class Stopwatch:
    """Adds up the seconds of what happens inside it."""

    seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started


class WatchedSplit:
    """A split that says how long its batches take."""

    def __init__(self, split: Split, watch: Stopwatch) -> None:
        self.labels = split.labels
        self.lengths = split.lengths
        self._split = split
        self._watch = watch

    def __len__(self) -> int:
        return len(self._split)

    def inputs(self, indices: Tensor) -> Inputs:
        return self._split.inputs(indices)

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        with self._watch.running():
            return self._split.draw_views(count, generator)

    def views(self, indices: Tensor, draws: Tensor) -> Inputs:
        with self._watch.running():
            return self._split.views(indices, draws)


class WatchedMethod:
    """A method that says how long its choices take."""

    def __init__(self, method: Method, watch: Stopwatch) -> None:
        self._watch = watch
        self._method = method
        self.update = method.update
        self.record = method.record
        self.state_dict = method.state_dict
        self.load_state_dict = method.load_state_dict

    def minibatch(self, step: int) -> MiniBatchCoreset:
        with self._watch.running():
            return self._method.minibatch(step)


@dataclass
class Turns:
    """Runs the bare loop between blocks of our steps, and notes how long each took."""

    bare: BareLoop
    watch: Stopwatch
    block: int
    pairs: list[Pair] = field(default_factory=list)
    _waiting: Pair | None = None
    _resumed: float = field(default_factory=time.perf_counter)
    _processor: float = field(default_factory=time.process_time)

    def __call__(self, taken: int) -> None:
        """Take note that our loop has taken so many steps."""
        if taken % self.block:
            return
        pair = self._waiting or Pair()
        pair.ours = time.perf_counter() - self._resumed
        pair.ours_processor = time.process_time() - self._processor
        pair.ours_loading = self.watch.seconds
        self.pairs.append(pair)
        if self._waiting is None:
            self._run_bare(pair)
            self._waiting = Pair()
            self._run_bare(self._waiting)
        else:
            self._waiting = None
        self.watch.seconds = 0.0
        self._resumed, self._processor = time.perf_counter(), time.process_time()

    def _run_bare(self, pair: Pair) -> None:
        self.bare.loading = 0.0
        started, processor = time.perf_counter(), time.process_time()
        for _ in range(self.block):
            self.bare.step()
        pair.bare = time.perf_counter() - started
        pair.bare_processor = time.process_time() - processor
        pair.bare_loading = self.bare.loading


def fresh_model(name: str, classes: int, shape: list[int]) -> nn.Module:
    model = build(name, classes=classes, image_shape=shape, stem="cifar", seed=0)
    return model.to(memory_format=torch.channels_last)


def measure(arguments: argparse.Namespace) -> list[Pair]:
    """Train both networks in turns; the first pair of blocks is for warming up and left out."""
    device = resolve_device("cpu")
    precision = resolve_precision(arguments.precision, device)
    steps = (arguments.pairs + 1) * arguments.block
    settings = TrainParameters(
        model=arguments.model,
        batch_size=arguments.batch_size,
        lr=LEARNING_RATE,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        augment_crop=CROP,
        augment_flip=True,
        device="cpu",
    )
    data = load(arguments.data, device, Augmentation(CROP, True))
    if not isinstance(data.meta, ImageMeta):
        raise SystemExit(f"{arguments.data}: holds texts; prepare images first")
    classes, shape = len(data.meta.classes), list(data.meta.image_shape)
    watch = Stopwatch()
    split = WatchedSplit(data.train, watch)
    model = fresh_model(arguments.model, classes, shape)
    context = Context(
        model=model,
        train=split,
        steps=steps,
        batch_size=arguments.batch_size,
        precision=precision,
        generator=generator_for(0, "method"),
        parameters=RandomParameters(),
    )
    method = WatchedMethod(METHODS["random"].build(context), watch)
    other = fresh_model(arguments.model, classes, shape)
    bare = BareLoop(other, arguments.data, arguments.batch_size, precision.name)
    turns = Turns(bare, watch, arguments.block)
    train(model, method, split, None, steps, settings, precision, turns)
    return turns.pairs[1:]


def quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def summarise(pairs: list[Pair], arguments: argparse.Namespace) -> dict[str, Any]:
    examples = arguments.block * arguments.batch_size
    low, ratio, high = quartiles([pair.ratio for pair in pairs])
    processor = quartiles([pair.processor_ratio for pair in pairs])
    return {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "precision": arguments.precision,
        "block_steps": arguments.block,
        "examples_per_second": statistics.median(examples / pair.ours for pair in pairs),
        "bare_examples_per_second": statistics.median(examples / pair.bare for pair in pairs),
        "ratio": ratio,
        "ratio_quartiles": [low, high],
        "processor_ratio": processor[1],
        "processor_ratio_quartiles": [processor[0], processor[2]],
        "ratio_of_totals": sum(pair.bare for pair in pairs) / sum(pair.ours for pair in pairs),
        "loading_share": statistics.median(pair.ours_loading / pair.ours for pair in pairs),
        "bare_loading_share": statistics.median(pair.bare_loading / pair.bare for pair in pairs),
        "loading_milliseconds": _per_step([pair.ours_loading for pair in pairs], arguments.block),
        "bare_loading_milliseconds": _per_step(
            [pair.bare_loading for pair in pairs], arguments.block
        ),
    }


def _per_step(seconds: list[float], steps: int) -> float:
    return 1000 * statistics.median(seconds) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/prepared"))
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--block", type=int, default=10, help="steps before it is the other's turn")
    parser.add_argument("--pairs", type=int, default=12, help="blocks of each that count")
    parser.add_argument("--threads", type=int, help="of torch; default: what torch takes")
    parser.add_argument("--out", type=Path, help="where to write everything as JSON")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    pairs = measure(arguments)
    found = summarise(pairs, arguments)
    low, high = found["ratio_quartiles"]
    print(f"{'':6} {'examples/s':>10} {'mini-batch':>12} {'of a step':>10}")
    for title, prefix in (("ours", ""), ("bare", "bare_")):
        print(
            f"{title:6} {found[prefix + 'examples_per_second']:10.1f} "
            f"{found[prefix + 'loading_milliseconds']:9.2f} ms "
            f"{found[prefix + 'loading_share']:10.1%}"
        )
    print(
        f"ours ÷ bare: {found['ratio']:.3f} (quartiles {low:.3f} to {high:.3f}; of all blocks "
        f"together {found['ratio_of_totals']:.3f})"
    )
    low, high = found["processor_ratio_quartiles"]
    print(
        f"by the processor's time: {found['processor_ratio']:.3f} "
        f"(quartiles {low:.3f} to {high:.3f})"
    )
    if arguments.out is not None:
        record = {
            "machine": machine.describe(),
            "summary": found,
            "pairs": [asdict(pair) | {"ratio": pair.ratio} for pair in pairs],
        }
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
