"""Data with planted wrong labels, and every training whose outputs tell who is wrong.

Of each case one ordinary run is trained and what every visit showed is kept; and beside it models
by cross-validation, and a run with threshold samples (Pleiss et al., *Identifying Mislabeled Data
using the Area Under the Margin Ranking*, NeurIPS 2020, arXiv 2001.10528).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from benchmarks.quality.texts import Bag, hashed_words
from crest.config import parse
from crest.data.augment import Augmentation, nothing_drawn
from crest.data.prepared import Split, load
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.inference.evaluator import Evaluator
from crest.label_noise import LabelNoise, noise_of
from crest.methods import METHODS
from crest.models.convnet import ConvNet
from crest.samplers.base import Context
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.training.loop import train

CPU = torch.device("cpu")
FOLDS = 4
THRESHOLD_SAMPLES = "threshold"
# Classes that are mistaken for one another: truck, bird, deer, cat and dog of CIFAR-10, after
# Patrini et al., CVPR 2017; of SNLI entailment and contradiction become neutral.
SIMILAR = {
    "cifar10": {9: 1, 2: 0, 4: 7, 3: 5, 5: 3},
    "snli": {0: 1, 2: 1},
    "digits": {3: 8, 8: 3, 1: 7, 7: 1, 9: 4},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60, "batch_size": 32, "lr": 0.1, "precision": "float32"},
    "cifar10": {
        "epochs": 10,
        "batch_size": 128,
        "lr": 0.2,
        "precision": "bf16",
        "augment_crop": 4,
        "augment_flip": True,
    },
    "snli": {
        "epochs": 10,
        "batch_size": 64,
        "lr": 0.002,
        "optimizer": "adamw",
        "precision": "float32",
    },
}


@dataclass(frozen=True)
class Case:
    """``examples`` of a data set, a ``share`` of whose labels is wrong.

    ``similar``: only classes of :data:`SIMILAR` are, that share of each. ``rare`` keeps that share
    of class 0.
    """

    name: str
    data: str
    share: float
    examples: int | None = None
    similar: bool = False
    rare: float = 1.0
    epochs: int | None = None


@dataclass
class Part:
    """Some rows of a split, with labels of their own."""

    whole: Split
    rows: Tensor
    labels: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self, indices: Tensor) -> Any:
        return self.whole.inputs(self.rows[indices])

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        return self.whole.draw_views(count, generator)

    def views(self, indices: Tensor, draws: Tensor) -> Any:
        return self.whole.views(self.rows[indices], draws)


class Tensors:
    """A split of inputs in memory, never augmented."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.labels = labels
        self.lengths: Tensor | None = None
        self._inputs = inputs

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> Tensor:
        return self._inputs[indices]

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        return nothing_drawn(count)

    def views(self, indices: Tensor, draws: Tensor) -> Tensor:
        return self.inputs(indices)


@dataclass(frozen=True)
class Source:
    """Examples with true labels, and how a model for so many classes is built."""

    split: Split
    classes: int
    model: Callable[[int], nn.Module]


def images(prepared: Path, name: str) -> Source:
    """Read prepared images, and train the small convnet on them."""
    settings = SETTINGS[name]
    augmentation = Augmentation(
        settings.get("augment_crop", 0), settings.get("augment_flip", False)
    )
    loaded = load(prepared, CPU, augmentation)
    channels = loaded.meta.image_shape[2]  # type: ignore[union-attr]
    return Source(
        loaded.train, len(loaded.meta.classes), lambda classes: ConvNet(classes, channels)
    )


def sentences(folder: Path) -> Source:
    """Read SNLI's pairs, and train bags of word vectors on them."""
    words, labels = hashed_words(folder, 2**20, 24)
    return Source(Tensors(words, labels), 3, Bag)


def planted(source: Source, case: Case, seed: int) -> tuple[Part, Tensor]:
    """Return examples with some wrong labels, and the true labels."""
    generator = torch.Generator().manual_seed(seed)
    split = source.split
    kept = torch.randperm(len(split), generator=generator)
    if case.rare < 1:
        zeros = kept[split.labels[kept] == 0]
        gone = zeros[: len(zeros) - round(case.rare * len(zeros))]
        kept = kept[~torch.isin(kept, gone)]
    kept = kept[: case.examples].sort().values
    true = split.labels[kept]
    if case.similar:
        return Part(split, kept, _mistaken(true, case, generator)), true
    wrong = torch.zeros(len(kept), dtype=torch.bool)
    wrong[torch.randperm(len(kept), generator=generator)[: round(case.share * len(kept))]] = True
    by = torch.randint(1, source.classes, (len(kept),), generator=generator)
    labels = torch.where(wrong, (true + by) % source.classes, true)
    return Part(split, kept, labels), true


def _mistaken(true: Tensor, case: Case, generator: torch.Generator) -> Tensor:
    labels = true.clone()
    for one, other in SIMILAR[case.data].items():
        rows = (true == one).nonzero().flatten()
        some = torch.randperm(len(rows), generator=generator)[: round(case.share * len(rows))]
        labels[rows[some]] = other
    return labels


class RecordedMethod:
    """A method that keeps what every step knew of its mini-batch."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self.indices: list[Tensor] = []
        self.logits: list[Tensor] = []

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        assert outputs is not None
        self.indices.append(minibatch.indices)
        self.logits.append(outputs.logits.float())
        self._method.update(minibatch, outputs, seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)


@dataclass(frozen=True)
class Visits:
    """What training showed: at visit v (of V) example ``indices[v]`` had ``logits[v]``, V×C.

    ``examples`` is the 'examples' table that the run left, ``final`` the logits of the trained
    model, n×C, and ``seconds`` the processor time of training.
    """

    indices: Tensor
    logits: Tensor
    examples: pl.DataFrame
    final: Tensor
    seconds: float


def trained(
    source: Source, data: Part, case: Case, seed: int, epochs: float, classes: int | None = None
) -> tuple[nn.Module, Visits]:
    """Train on random mini-batches of all of the data; ``classes`` where there are more."""
    parameters = parse(
        {"train": SETTINGS[case.data] | {"seed": seed, "device": "cpu", "threads": 1}}, "benchmark"
    )
    settings = parameters.train
    precision = Precision(settings.precision, CPU)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = source.model(classes or source.classes)
    steps = round(epochs * len(data)) // settings.batch_size
    context = Context(
        model=model,
        train=data,
        steps=steps,
        batch_size=settings.batch_size,
        precision=precision,
        generator=generator_for(seed, "method"),
        parameters=parameters.of_method("random"),
    )
    method = RecordedMethod(METHODS["random"].build(context))
    started = time.process_time()
    done = train(model, method, data, None, steps, settings, precision)
    seconds = time.process_time() - started
    final = Evaluator(model, data, precision).score(torch.arange(len(data))).logits.float()
    indices, logits = torch.cat(method.indices), torch.cat(method.logits)
    return model, Visits(indices, logits, done.examples_table, final, seconds)


def cross_validated(
    source: Source, data: Part, case: Case, seed: int, epochs: float
) -> tuple[Tensor, float]:
    """Return probabilities of models that were trained on the other folds, n×C, and seconds."""
    generator = torch.Generator().manual_seed(seed)
    folds = torch.randperm(len(data), generator=generator) % FOLDS
    found = torch.zeros(len(data), source.classes)
    seconds = 0.0
    for fold in range(FOLDS):
        inside = (folds != fold).nonzero().flatten()
        part = Part(data.whole, data.rows[inside], data.labels[inside])
        model, visits = trained(source, part, case, seed + fold, epochs)
        seconds += visits.seconds
        outside = (folds == fold).nonzero().flatten()
        precision = Precision(SETTINGS[case.data]["precision"], CPU)
        found[outside] = Evaluator(model, data, precision).score(outside).logits.float().softmax(1)
    return found, seconds


def with_threshold_samples(
    source: Source, data: Part, case: Case, seed: int, epochs: float
) -> tuple[Visits, Tensor]:
    """Train with a class more, of n / (classes + 1) examples; return its visits, and which."""
    generator = torch.Generator().manual_seed(seed)
    count = len(data) // (source.classes + 1)
    chosen = torch.randperm(len(data), generator=generator)[:count]
    labels = data.labels.clone()
    labels[chosen] = source.classes
    part = Part(data.whole, data.rows, labels)
    return trained(source, part, case, seed, epochs, source.classes + 1)[1], chosen


def left_out(data: Part, classes: int, seed: int) -> tuple[LabelNoise, float]:
    """Return what :mod:`crest.label_noise` says without any training, and its seconds."""
    started = time.process_time()
    some = data.inputs(torch.zeros(1, dtype=torch.int64))
    split = Tokens(data) if not some.is_floating_point() else data
    noise = noise_of(split, classes, torch.Generator().manual_seed(seed))
    assert noise is not None
    return noise, time.process_time() - started


class Tokens:
    """A part whose inputs are numbers of two texts' words, 0 for none, as tokens."""

    def __init__(self, data: Part) -> None:
        self.labels, self.lengths = data.labels, None
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def inputs(self, indices: Tensor) -> dict[str, Tensor]:
        words = self._data.inputs(indices)
        kinds = torch.arange(2)[None, :, None].expand_as(words)
        return {
            "input_ids": words.flatten(1),
            "attention_mask": (words > 0).long().flatten(1),
            "token_type_ids": kinds.flatten(1),
        }

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        return nothing_drawn(count)

    def views(self, indices: Tensor, draws: Tensor) -> dict[str, Tensor]:
        return self.inputs(indices)


LEFT_OUT = "left out"
WAYS = ("run", LEFT_OUT, "folds, equal seconds", f"folds, {FOLDS} runs", THRESHOLD_SAMPLES)


def collect(
    source: Source, case: Case, seed: int, keep: Path, ways: Sequence[str] = WAYS
) -> dict[str, Any]:
    """Train whatever ``keep`` does not hold yet of a case, and return all that it holds."""
    data, true = planted(source, case, seed)
    epochs = case.epochs or SETTINGS[case.data]["epochs"]
    found: dict[str, Any] = {
        "case": asdict(case),
        "seed": seed,
        "labels": data.labels,
        "true": true,
        "classes": source.classes,
    }
    # Each fold's model sees FOLDS - 1 parts of the data: so many passes take as many steps.
    whole = epochs * FOLDS / (FOLDS - 1)
    trainings: dict[str, Callable[[], Any]] = {
        "run": lambda: trained(source, data, case, seed, epochs)[1],
        "folds, equal seconds": lambda: cross_validated(source, data, case, seed, whole / FOLDS),
        f"folds, {FOLDS} runs": lambda: cross_validated(source, data, case, seed, whole),
        LEFT_OUT: lambda: left_out(data, source.classes, seed),
        THRESHOLD_SAMPLES: lambda: with_threshold_samples(source, data, case, seed, epochs),
    }
    for way in WAYS:
        file = keep / f"{case.name}, {seed}, {way}.pt".replace(" ", "_")
        if way in ways and not file.is_file():
            keep.mkdir(parents=True, exist_ok=True)
            torch.save(trainings[way](), file)
        if file.is_file():
            found[way] = torch.load(file, weights_only=False)
    return found
