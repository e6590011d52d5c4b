"""Photographs a second: torchvision's ImageFolder and DataLoader beside ours, on this machine.

    python -m benchmarks.speed.images --rounds 9

Files of 500×375 pixels are cut out of the two photographs that scikit-learn ships, and saved as
JPEG about as large as ImageNet's are in the mean. The arms take turns, a number of batches each;
before a turn is timed, what its workers may have made in advance is thrown away. Nothing is
trained: a batch is normalised float32 on the CPU, random resized crops of 224 pixels and flips,
and for images stored as pixels padded crops and flips too, and crops out of larger ones. It prints
images a second and processor milliseconds an image, worker processes included: median and quartiles
over the turns, and the ratio to the fastest arm of torchvision in the same turn.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.shared.photographs import photographs
from crest.data.augment import Augmentation
from crest.data.build import build
from crest.data.datasets import open_source
from crest.data.encoded import EncodedImages, EncodedSplit
from crest.data.files import ImageMeta
from crest.data.opening import open_tensor
from crest.data.prepared import Expecting, Split, load
from crest.data.preprocessing import Preprocessing
from crest.parameters.sections import PrepareParameters

SIDE = 224
LARGER = 336  # what images may be stored at for a network of SIDE
BATCH = 64
CROPS = Augmentation(flip=True, scale=(0.08, 1.0))
PADDED = Augmentation(crop=SIDE // 8, flip=True)
TICKS = os.sysconf("SC_CLK_TCK")


def write_folder(folder: Path, count: int) -> int:
    """Write photographs into the folders of two classes; returns their bytes."""
    size = 0
    for number, content in enumerate(photographs(count)):
        path = folder / ("china", "flower")[number % 2] / f"{number:05}.jpg"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
        size += len(content)
    return size


def prepare(source: Path, folder: Path, storage: str, side: int = SIDE) -> ImageMeta:
    """Prepare the folder as `prepare` does."""
    folder.mkdir()
    params = PrepareParameters(
        dataset="folder",
        source=str(source),
        image_size=side,
        storage=storage,  # type: ignore[arg-type]
        validation=0.0,
    )
    meta = build(open_source(params), params, folder, lambda done: None)
    assert isinstance(meta, ImageMeta)
    return meta


# An arm yields batches for ever, and names the processes that make them.
Batches = Iterator[Tensor]


@dataclass
class Turn:
    """What an arm did in a turn."""

    per_second: float
    milliseconds: float


@dataclass
class Arm:
    """A way to load images; ``ahead`` batches may be made in advance."""

    begin: Callable[[], tuple[Batches, list[int]]]
    ahead: int
    turns: list[Turn] = field(default_factory=list)

    def turn(self, batches: int) -> None:
        """Time a number of batches."""
        taken, workers = self.begin()
        for _ in range(self.ahead + 1):
            next(taken)
        processes = [os.getpid(), *workers]
        started, worked = time.perf_counter(), sum(map(_worked, processes))
        for _ in range(batches):
            assert next(taken).shape == (BATCH, 3, SIDE, SIDE)
        seconds, worked = time.perf_counter() - started, sum(map(_worked, processes)) - worked
        images = batches * BATCH
        self.turns.append(Turn(images / seconds, worked / images * 1000))
        close = getattr(taken, "close", None)
        if close is not None:
            close()


def _worked(process: int) -> float:
    """Return the processor seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def of_loader(loader: DataLoader[Any]) -> tuple[Batches, list[int]]:
    """Return the batches of a DataLoader, and its worker processes."""
    iterator = iter(loader)
    workers = [worker.pid for worker in getattr(iterator, "_workers", [])]
    return (batch[0] for batch in iterator), workers


def torchvision_loader(folder: Path, meta: ImageMeta, workers: int) -> DataLoader[Any]:
    """Return the loop that everybody writes."""
    data = ImageFolder(
        str(folder),
        transforms.Compose([
            transforms.RandomResizedCrop(SIDE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(meta.mean, meta.std),
        ]),
    )  # fmt: skip
    sampler = RandomSampler(data, replacement=True, num_samples=10**6)
    return DataLoader(data, BATCH, sampler=sampler, num_workers=workers)


def of_split(split: Split) -> tuple[Batches, list[int]]:
    """Return batches as the training loop asks for them: the next is known one step before."""
    return _views(split), []


def _views(split: Split) -> Batches:
    generator = torch.Generator().manual_seed(0)

    def drawn() -> tuple[Tensor, Tensor]:
        indices = torch.randint(len(split), (BATCH,), generator=generator)
        return indices, split.draw_views(BATCH, generator)

    following = drawn()
    while True:
        now, following = following, drawn()
        views = split.views(*now)
        if isinstance(split, Expecting):
            split.expect(*following)
        assert isinstance(views, Tensor)
        yield views


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Batches of our encoded images, decoded in the worker processes of a DataLoader."""

    def __init__(self, split: EncodedSplit) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitems__(self, examples: list[tuple[int, list[int]]]) -> tuple[Tensor, Tensor]:
        indices, draws = (torch.tensor(column) for column in zip(*examples, strict=True))
        return draws, self._split.pixels(indices, draws)


def _drawn(split: Split) -> Iterator[list[tuple[int, list[int]]]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        indices = torch.randint(len(split), (BATCH,), generator=generator)
        draws = split.draw_views(BATCH, generator)
        yield [*zip(indices.tolist(), draws.tolist(), strict=True)]


def _as_it_is(batch: Any) -> Any:
    return batch


def of_processes(split: EncodedSplit, workers: int) -> tuple[Batches, list[int]]:
    """Return batches of our images as a DataLoader's processes crop them."""
    loader = DataLoader(
        Crops(split), batch_sampler=_drawn(split), num_workers=workers, collate_fn=_as_it_is
    )
    batches = iter(loader)
    found = [worker.pid for worker in getattr(batches, "_workers", [])]
    return (split.finish(pixels, draws) for draws, pixels in batches), found


def arms(root: Path, source: Path) -> dict[str, Arm]:
    """Return everything that is measured; torchvision's come first."""
    encoded, pixels = root / "encoded", root / "pixels"
    meta = prepare(source, encoded, "encoded")
    prepare(source, pixels, "pixels")
    larger = prepare(source, root / "larger", "pixels", LARGER)
    device = torch.device("cpu")
    stored = load(pixels, device, PADDED).train
    mean, std = torch.tensor(meta.mean), torch.tensor(meta.std)
    labels = open_tensor(encoded, "train", "labels")

    def encoded_split(threads: int) -> EncodedSplit:
        images = EncodedImages(encoded, "train", meta)
        return EncodedSplit(images, labels, mean, std, device, CROPS, threads)

    def threads(count: int) -> tuple[Batches, list[int]]:
        return of_split(encoded_split(count))

    def processes(count: int) -> tuple[Batches, list[int]]:
        return of_processes(encoded_split(1), count)

    found = {
        f"torchvision, {count} workers": Arm(
            lambda count=count: of_loader(torchvision_loader(source, meta, count)),  # type: ignore[misc]
            2 * count,
        )
        for count in (0, 1, 2)
    }
    for count in (1, 2):
        found[f"encoded, {count} threads"] = Arm(partial(threads, count), 1)
        found[f"encoded, {count} processes"] = Arm(partial(processes, count), 2 * count)
    found["pixels"] = Arm(partial(of_split, stored), 1)
    crops = load(pixels, device, CROPS).train
    found["pixels, resized crops"] = Arm(partial(of_split, crops), 1)
    to_side = replace(Preprocessing.of_data(larger.mean, larger.std), resized=SIDE)
    crops = load(root / "larger", device, CROPS, to_side).train
    found[f"pixels of {LARGER}, resized crops"] = Arm(partial(of_split, crops), 1)
    return found


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=8, help="of a turn")
    parser.add_argument("--files", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch's operations")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        size = write_folder(root / "photographs", arguments.files)
        print(f"{arguments.files} files of {size / arguments.files / 1000:.0f} kB in the mean")
        measured = arms(root, root / "photographs")
        for _ in range(arguments.rounds):
            for arm in measured.values():
                arm.turn(arguments.batches)
    theirs = [arm for name, arm in measured.items() if name.startswith("torchvision")]
    fastest = max(theirs, key=lambda arm: median(turn.per_second for turn in arm.turns))
    print("| arm | images a second | CPU ms an image | ratio | quartiles |")
    print("|---|---|---|---|---|")
    for name, arm in measured.items():
        ratios = [
            turn.per_second / other.per_second
            for turn, other in zip(arm.turns, fastest.turns, strict=True)
        ]
        low, _, high = quantiles(ratios)
        rate = median(turn.per_second for turn in arm.turns)
        cost = median(turn.milliseconds for turn in arm.turns)
        print(
            f"| {name} | {rate:.0f} | {cost:.2f} | {median(ratios):.2f} | {low:.2f}–{high:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
