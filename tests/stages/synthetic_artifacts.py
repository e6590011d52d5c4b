"""Small made-up artifacts, as the stages before analyze and report leave them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from crest import artifacts
from crest.data.files import SCHEMA_VERSIONS, ImageMeta, TextMeta, read_meta, write_meta
from crest.data.origins import SCHEMA as SOURCES
from crest.data.origins import sources_file
from crest.data.verifying import file_hash
from crest.pipeline import manifest
from crest.pipeline.paths import Paths

EXAMPLES = 40
CLASSES = ["zero", "<b>one</b>", "$two$", "three"]
BATCH = 4
STEPS = {"full": 60, "random": 12, "crest": 12}
COMPONENTS = {"select": 0.5, "model": 0.75, "check": 0.125, "label_noise": 0.375, "train": 1.25}


ACCURACY = {"full": 0.9, "random": 0.8, "crest": 0.72}


def write_project(root: Path) -> Paths:
    """Everything before analyze: prepared data, three runs and their evaluations."""
    paths = Paths(root)
    write_prepared(paths.prepared)
    for method, accuracy in ACCURACY.items():
        write_run(paths.train(method), method)
        predicted = metrics(method, accuracy=accuracy, loss=0.5)
        artifacts.write_json(paths.evaluate(method) / artifacts.METRICS, predicted)
        write_predictions(paths.evaluate(method), accuracy)
        manifest.seal(paths.evaluate(method), {method: f"run of {method}"}, "abc")
    return paths


def write_predictions(folder: Path, accuracy: float) -> None:
    """Of 100 test examples the first are right, the rest taken for the next class."""
    label = np.arange(100) % len(CLASSES)
    right = np.arange(100) < 100 * accuracy
    columns = {
        "index": np.arange(100),
        "label": label,
        "prediction": np.where(right, label, (label + 1) % len(CLASSES)),
        "confidence": np.full(100, 0.75),
        "loss": np.full(100, 0.5),
    }
    kinds = artifacts.TABLES["predictions"]
    table = pl.DataFrame(columns).cast({name: kinds[name] for name in columns})
    artifacts.write_table(folder / artifacts.PREDICTIONS, table)


def write_reuse(paths: Paths, model: str) -> None:
    """A model trained on saved coresets, in as much time as random."""
    cost = {"seconds_train": 1.2, "seconds": {"train": 1.2}, "accuracy": 0.6, "loss": 1.0}
    folder = paths.reuse(model)
    write_metrics(folder, "random", method="replay", model=model, **cost)
    origin = {"source": str(paths.train("crest")), "run": "run of crest"}
    manifest.seal(folder, {"replay": f"run of {model}"}, "abc", origin)


def write_repeat(paths: Paths, method: str, seed: int, accuracy: float) -> None:
    """A run of a method with another seed, evaluated."""
    folder = paths.repeat(method, seed)
    write_metrics(folder, method, accuracy=accuracy, loss=0.5)
    values = artifacts.read_json(paths.train(method) / artifacts.RUN)
    artifacts.write_json(folder / artifacts.RUN, values)
    manifest.seal(folder, {method: f"run of {method} with {seed}"}, "abc")


def sealed_again(folder: Path) -> None:
    """Take a folder as it is now for what was written, as a test changed it."""
    found = manifest.read(folder, "again")
    manifest.seal(folder, found.runs, found.data, found.coresets)


def labels() -> np.ndarray:
    return np.arange(EXAMPLES, dtype=np.int64) % len(CLASSES)


def write_prepared(folder: Path, channels: int = 1) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for split, count in {"train": EXAMPLES, "test": 100}.items():
        shape = (count, 8, 8, channels)
        images = generator.integers(0, 256, shape, dtype=np.uint8)
        np.save(folder / f"{split}_images.npy", images)
        np.save(folder / f"{split}_labels.npy", np.arange(count, dtype=np.int64) % len(CLASSES))
    meta = ImageMeta(
        schema_version=SCHEMA_VERSIONS["image"],
        kind="image",
        dataset="made-up",
        source="tests",
        sizes={"train": EXAMPLES, "test": 100},
        classes=CLASSES,
        image_shape=[8, 8, channels],
        mean=[0.5] * channels,
        std=[0.25] * channels,
        content_hash="abc",
    )
    write_meta(folder, meta)


def write_sources(folder: Path, files: list[tuple[str, int | None]]) -> None:
    """Say where each training example came from: a file, and its row there if it holds several."""
    frame = pl.DataFrame(files, schema=SOURCES, orient="row")
    frame.write_parquet(sources_file(folder, "train"))
    hashes = {"train": file_hash(sources_file(folder, "train"))}
    write_meta(folder, replace(read_meta(folder), source_hashes=hashes))


def write_text(folder: Path, **columns: list[str]) -> None:
    """Prepared text of one token an example; ``columns`` are the texts of the training split."""
    sizes = {"train": EXAMPLES, "test": 100}
    for split, count in sizes.items():
        np.save(folder / f"{split}_tokens.npy", np.full(count, 3, np.int32))
        np.save(folder / f"{split}_offsets.npy", np.arange(count + 1, dtype=np.int64))
        np.save(folder / f"{split}_second_starts.npy", np.ones(count, np.int32))
        np.save(folder / f"{split}_labels.npy", np.arange(count, dtype=np.int64) % len(CLASSES))
        texts = columns if split == "train" else {name: ["a test"] * count for name in columns}
        pl.DataFrame(texts).write_parquet(folder / f"{split}_texts.parquet")
    meta = TextMeta(
        schema_version=SCHEMA_VERSIONS["text"],
        kind="text",
        dataset="made-up",
        source="tests",
        sizes=sizes,
        classes=CLASSES,
        text_columns=list(columns),
        tokenizer="made-up",
        vocabulary_size=4,
        vocabulary_hash="def",
        pad_token_id=0,
        token_types=False,
        max_length=8,
        lengths={split: dict.fromkeys(("0", "50", "90", "99", "100"), 1) for split in sizes},
        truncated=dict.fromkeys(sizes, 0),
        dropped={"train": 0, "test": 0},
        content_hash="abc",
        text_hashes={split: file_hash(folder / f"{split}_texts.parquet") for split in sizes},
    )
    write_meta(folder, meta)


def sentences(name: str) -> list[str]:
    return [f"{name} of example {index}" for index in range(EXAMPLES)]


def turn_into_text(folder: Path, **columns: list[str]) -> None:
    """Put text in the place of the images of prepared data."""
    for path in folder.iterdir():
        path.unlink()
    write_text(folder, **columns)


def table(name: str, **columns: object) -> pl.DataFrame:
    return pl.DataFrame(columns, schema=dict(artifacts.TABLES[name]))


def write_run(folder: Path, method: str, validation: bool = True) -> None:
    steps = STEPS[method]
    write_steps(folder, method)
    write_examples(folder, method)
    points = [steps // 2, steps] if validation else []
    artifacts.write_table(
        folder / artifacts.VALIDATION,
        table(
            "validation",
            step=points,
            seconds=[0.1 * point for point in points],
            loss=[1.0 / point for point in points],
            accuracy=[0.5 + 0.4 * point / steps for point in points],
        ),
    )
    if method == "crest":
        write_selections(folder)
    write_metrics(folder, method)
    manifest.seal(folder, {method: f"run of {method}"}, "abc")


def write_steps(folder: Path, method: str) -> None:
    steps = STEPS[method]
    counted = range(steps)
    selects = method == "crest"
    artifacts.write_table(
        folder / artifacts.STEPS,
        table(
            "steps",
            step=counted,
            region=[step // 4 if selects else -1 for step in counted],
            minibatch=[step % 2 if selects else -1 for step in counted],
            lr=[0.1] * steps,
            loss=[2.0 - step / steps for step in counted],
            accuracy=[step / steps for step in counted],
            examples=[BATCH * (step + 1) for step in counted],
            seconds=[0.1 * (step + 1) for step in counted],
        ),
    )


def write_examples(folder: Path, method: str) -> None:
    """Example i was forgotten i % 7 times; every 20th was never right; 0, 1 and 2 were excluded."""
    blocks = [example_rows("training", method)]
    if method == "crest":
        blocks.append(example_rows("selection", method))
    artifacts.write_table(folder / artifacts.EXAMPLES, pl.concat(blocks))


def example_rows(pass_name: str, method: str) -> pl.DataFrame:
    everyone = range(EXAMPLES)
    scored = pass_name == "selection"
    never = [index % 20 == 19 for index in everyone]
    return table(
        "examples",
        **{
            "pass": [pass_name] * EXAMPLES,
            "index": everyone,
            "label": labels(),
            "seen": [6 if method == "full" else index % 3 for index in everyone],
            "correct": [0 if wrong else 3 for wrong in never],
            "forgotten": [0 if never[index] else index % 7 for index in everyone],
            "first_learned": [-1 if wrong else 2 for wrong in never],
            "loss_sum": [index + 200.0 * wrong for index, wrong in enumerate(never)],
            "el2n": [index / EXAMPLES for index in everyone],
            "taken_for": [
                (label + 1) % 4 if index % 2 else -1 for index, label in enumerate(labels())
            ],
            "label_probability": [None if scored else 0.9 - 0.88 * wrong for wrong in never],
            "control_probability": [None if scored else 0.05 for _ in everyone],
            "excluded_at": [5 if scored and index < 3 else -1 for index in everyone],
        },
    )


def write_selections(folder: Path) -> None:
    """Three regions of two mini-batches of four, which pick 3, 10, 17, ... in turn."""
    rows = [
        (region, minibatch, position)
        for region in range(3)
        for minibatch in range(2)
        for position in range(BATCH)
    ]
    index = [(3 + 7 * place) % EXAMPLES for place in range(len(rows))]
    artifacts.write_table(
        folder / artifacts.CORESETS,
        table(
            "coresets",
            region=[row[0] for row in rows],
            minibatch=[row[1] for row in rows],
            position=[row[2] for row in rows],
            index=index,
            label=labels()[index],
            weight=[1.0] * len(rows),
            loss=[0.5] * len(rows),
        ),
    )
    artifacts.write_table(
        folder / artifacts.REGIONS,
        table(
            "regions",
            region=[0, 1, 2],
            start_step=[0, 4, 8],
            end_step=[4, 8, 12],
            check_interval=[1, 2, 4],
            minibatches=[2, 2, 2],
            checks=[4, 2, 1],
            rho=[0.06, 0.07, None],
            loss_start=[2.0, 1.5, 1.0],
            gradient_norm=[1.0, 0.9, 0.8],
            curvature_norm=[5.0, 4.0, 3.0],
            effective_size=[3.5, 2.5, 1.5],
            active=[40, 40, 37],
            excluded=[0, 0, 3],
            seconds_select=[0.1] * 3,
            seconds_model=[0.1] * 3,
            seconds_check=[0.1] * 3,
            seconds_train=[0.1] * 3,
        ),
    )


def metrics(method: str, /, **changes: object) -> dict[str, object]:
    steps = STEPS[method]
    parts = COMPONENTS if method == "crest" else {"train": 0.1 * steps}
    values = {
        "method": method,
        "model": "convnet",
        "dataset": "made-up",
        "steps": steps,
        "full_steps": STEPS["full"],
        "budget": steps / STEPS["full"],
        "examples_trained": BATCH * steps,
        "seconds_train": sum(parts.values()),
        "seconds": parts,
        "regions": 3 if method == "crest" else 0,
    }
    return values | changes


def write_metrics(folder: Path, method: str, /, **changes: object) -> None:
    artifacts.write_json(folder / artifacts.METRICS, metrics(method, **changes))
    artifacts.write_json(
        folder / artifacts.RUN,
        {
            "method": method,
            "parameters": {"train": {"seed": 0, "lr": 0.1}, "prepare": {"source": "<script>"}},
            "data": {"dataset": "made-up", "content_hash": "abc"},
            "device": {"device": "cpu", "name": "a machine"},
            "versions": {"python": "3.11"},
            "git_commit": None,
        },
    )
