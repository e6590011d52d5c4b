"""What sampling by the losses of training gains on tasks of all kinds, and what its lag costs.

    python -m benchmarks.quality.tasks --seeds 3 --out tasks.json
    python -m benchmarks.quality.tasks --only digits --rules focused,lag=1 focused,lag=64

Each task is trained with LossBatchSampler at equal steps, once with the rule random and once with
focused, everything else the same (groups too): model, initial weights, schedule (a cosine over
these steps). It prints the mean over seeds of the test metric of random, and the paired difference
with its standard error. Tasks are of the bundled digits and diabetes data, and of SNLI where a
folder is named.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn
from torch.nn import functional as F

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


def sentences(folder: Path, count: int, length: int) -> tuple[Tensor, Tensor, int]:
    """Return SNLI's pairs as hashed words (0 where there is none), and their labels."""
    table = pl.read_parquet(folder / "train-00000-of-00001.parquet").filter(pl.col("label") >= 0)
    rows = table.head(count)
    vocabulary = 4096
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    for row, (one, two) in enumerate(rows.select("premise", "hypothesis").iter_rows()):
        words = [*one.lower().split()[: length // 2], *two.lower().split()[: length // 2]]
        numbers = [1 + _number(word) % (vocabulary - 1) for word in words]
        tokens[row, : len(numbers)] = torch.tensor(numbers)
    return tokens, torch.tensor(rows["label"].to_numpy().astype(np.int64)), vocabulary


def _number(word: str) -> int:
    value = 0
    for letter in word:
        value = (value * 131 + ord(letter)) % 1_000_003
    return value


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
        layers += [nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(24, 11, 1))


class Bag(nn.Module):
    """Mean of word vectors of each half, both and their difference through a hidden layer."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, 48, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(48 * 4, 96), nn.ReLU(), nn.Linear(96, classes))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, B×classes."""
        halves = tokens.chunk(2, 1)
        one, two = (
            self.words(half).sum(1) / (half > 0).sum(1, keepdim=True).clamp(1) for half in halves
        )
        return self.head(torch.cat([one, two, one - two, one * two], 1))


class Language(nn.Module):
    """A causal language model: two layers of attention over word vectors."""

    def __init__(self, vocabulary: int, length: int, width: int = 48) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width, padding_idx=0)
        self.places = nn.Parameter(torch.zeros(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next word, B×T×V."""
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.body(self.words(tokens) + self.places[:length], mask=mask, is_causal=True)
        return hidden @ self.words.weight.T


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each example, over whatever places it has."""
    losses = F.cross_entropy(outputs, targets, reduction="none")
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


def next_word(outputs: Tensor, tokens: Tensor) -> Tensor:
    """Return each sequence's mean loss over its own next words."""
    following = tokens[:, 1:]
    losses = F.cross_entropy(outputs[:, :-1].transpose(1, 2), following, reduction="none")
    there = following > 0
    return (losses * there).sum(1) / there.sum(1).clamp(1)


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


def likelihood(outputs: Tensor, tokens: Tensor) -> float:
    """Minus the mean loss of next words, in hundredths of a nat."""
    return -100 * float(next_word(outputs, tokens).double().mean())


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


def tasks(snli: Path | None) -> list[Task]:
    """Return all tasks that there are data for."""
    found = [
        Task("digits", digits, lambda _: Conv(10), cross_entropy, accuracy, 6),
        Task("digits, smoothing and mixup", digits, lambda _: Conv(10), cross_entropy, accuracy, 6,
             step_losses=mixed),
        Task("multi-label (BCE)", attributes, lambda _: Conv(4), binary, exact, 6),
        Task("regression, diabetes", diabetes, _mlp, squared, explained, 12, 16, 1e-2),
        Task("regression, ink", brightness, lambda _: Conv(1), squared, explained, 6),
        Task("regression, ink, 5% outliers", lambda seed: brightness(seed, 0.05), lambda _: Conv(1),
             squared, explained, 6),
        Task("regression, ink, 5% outliers, Huber", lambda seed: brightness(seed, 0.05),
             lambda _: Conv(1), absolute, explained, 6),
        Task("segmentation", scenes, pixelwise, cross_entropy, foreground, 6, 16),
    ]  # fmt: skip
    if snli is None:
        return found
    tokens, labels, vocabulary = sentences(snli, 30_000, 40)
    words = tokens[labels == 0][:6000]
    return [
        *found,
        Task("text classification, SNLI", lambda seed: _split(tokens, labels, seed, groups=True),
             lambda _: Bag(vocabulary, 3), cross_entropy, accuracy, 3, 64),
        Task("language model, padded", lambda seed: _split(words, words, seed),
             lambda _: Language(vocabulary, 40), next_word, likelihood, 3, 32),
    ]  # fmt: skip


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
    """Return what ``focused``, ``focused,ceiling=4`` or ``focused,lag=8`` means."""
    rule, *pairs = text.split(",")
    options = {name: float(value) for name, value in (pair.split("=") for pair in pairs)}
    lag = options.pop("lag", None)
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
    parser.add_argument("--only", help="tasks whose name begins so")
    parser.add_argument("--rules", nargs="*", default=["focused"], help="RULE,OPTION=VALUE,lag=N")
    parser.add_argument("--snli", type=Path, help="folder of SNLI's Parquet")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    variants = [variant(text) for text in arguments.rules]
    names = ["task", "random", *arguments.rules]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)
    rows = {}
    for task in tasks(arguments.snli):
        if task.name.startswith(arguments.only or ""):
            rows[task.name] = compared(task, range(arguments.seeds), variants)
            print(described(task.name, rows[task.name]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
