"""Everything a user or a machine may get wrong, and what the command line answers.

    python -m tests.bad_input > docs/errors.md

Each case breaks a copy of a small project in one way and runs one command in it.
"""

import errno
import io
import json
import os
import resource
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import cli
from crest import artifacts
from crest.models import ModelSpec, build, weights

Break = Callable[[], None]
Surroundings = Callable[[], AbstractContextManager[object]]

PARAMS = """\
prepare: {dataset: parquet, source: source, workers: 1}
train:
  methods: [crest]
  batch_size: 8
  epochs: 2
  budget: 0.5
  validations: 1
  precision: float32
  device: cpu
  threads: 1
crest: {subset_size: 16, minibatch_factor: 2.0}
analyze: {scores_from: crest}
"""
PREPARED = Path("data/prepared")
RUN = Path("artifacts/train/crest")
CORESETS = RUN / artifacts.CORESETS
MODEL = RUN / artifacts.MODEL
TRAIN, TEST = Path("source/train.parquet"), Path("source/test.parquet")
STATE = Path(".resume/train-random.safetensors")
UNFINISHED = Path("unfinished.safetensors")
ROWS = 48
SELECT = f"select --checkpoint {MODEL} --json"
FOLDER = "prepare -S prepare.dataset=folder -S prepare.source=images"


def nothing() -> None:
    """Leave the project whole: the command itself is wrong."""


@dataclass(frozen=True)
class Case:
    """One way to get it wrong.

    ``expected`` is a regular expression that the whole message must match after 'error: ';
    ``surroundings`` holds while the command runs.
    """

    name: str
    command: str
    expected: str
    damage: Break = nothing
    code: int = 1
    surroundings: Surroundings = nullcontext


# ------------------------------------------------------------------------------ the whole project


def png(seed: int, size: tuple[int, int] = (8, 8), form: str = "PNG") -> bytes:
    """Return random colours as a compressed image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def examples(count: int) -> dict[str, list[Any]]:
    """Return the columns of a split: images of three classes."""
    return {"image": [png(row) for row in range(count)], "label": [row % 3 for row in range(count)]}


def invoke(command: str) -> Result:
    """Run a command in the working folder."""
    return CliRunner().invoke(cli.app, shlex.split(command))


def make_project(folder: Path) -> None:
    """Make a whole project: parameters, two sources, prepared data, a run, an unfinished run."""
    with chdir(folder):
        Path("params.yaml").write_text(PARAMS)
        Path("source").mkdir()
        pl.DataFrame(examples(ROWS)).write_parquet(TRAIN)
        pl.DataFrame(examples(12)).write_parquet(TEST)
        for number, name in enumerate(("train/ant", "train/bee", "test/ant", "test/bee")):
            Path("images", name).mkdir(parents=True)
            for place in range(10):
                Path("images", name, f"{place}.png").write_bytes(png(10 * number + place))
        for command in ("prepare", "train", "evaluate", "analyze", "report"):
            done = invoke(command)
            assert done.exit_code == 0, done.output
        with patch("stages.signals.noted", lambda: nullcontext(lambda: 15)):
            assert invoke("train --method random").exit_code == 143
        STATE.rename(UNFINISHED)
        STATE.parent.rmdir()


# ------------------------------------------------------------------------------- ways to break it


def params(text: str | bytes) -> Break:
    """Replace params.yaml."""
    return content(Path("params.yaml"), text.encode() if isinstance(text, str) else text)


def content(path: Path | str, value: bytes) -> Break:
    """Replace a file, or add one."""

    def damage() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(value)

    return damage


def cut(path: Path | str, share: float = 0.5) -> Break:
    """Cut a file short, as a copy that was interrupted."""

    def damage() -> None:
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: int(share * len(whole))])

    return damage


def zeros(path: Path | str, start: int, end: int) -> Break:
    """Overwrite a part of a file with zeros, as a bad disk would."""

    def damage() -> None:
        whole = bytearray(Path(path).read_bytes())
        whole[start:end] = bytes(len(whole[start:end]))
        Path(path).write_bytes(whole)

    return damage


def gone(path: Path | str) -> Break:
    """Remove a file or a folder."""

    def damage() -> None:
        shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()

    return damage


def both(*steps: Break) -> Break:
    """Break it in several ways."""

    def damage() -> None:
        for step in steps:
            step()

    return damage


def as_file(path: Path | str) -> Break:
    """Put a file where a folder is to be."""
    return both(gone(path), content(path, b"a file\n"))


def as_folder(path: Path | str) -> Break:
    """Put a folder where a file is to be."""

    def damage() -> None:
        Path(path).unlink(missing_ok=True)
        Path(path).mkdir(parents=True)

    return damage


def columns(path: Path = TRAIN, **changes: Any) -> Break:
    """Replace columns of a split; None drops one, a function is given its values."""

    def damage() -> None:
        table = examples(ROWS if path == TRAIN else 12)
        for name, change in changes.items():
            if change is None:
                del table[name]
            else:
                table[name] = change(table[name]) if callable(change) else change
        pl.DataFrame(table, strict=False).write_parquet(path)

    return damage


def row(place: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    """Replace one value of a column."""
    return lambda values: [*values[:place], value, *values[place + 1 :]]


def twice_named(path: Path = TRAIN) -> None:
    """Give two columns of a Parquet file the same name, which Polars itself would refuse."""
    table = examples(ROWS)
    pl.DataFrame(table | {"labe1": table["label"]}).write_parquet(path)
    path.write_bytes(path.read_bytes().replace(b"labe1", b"label"))


def meta(**changes: Any) -> Break:
    """Change fields of meta.json; None drops one."""

    def damage() -> None:
        values = json.loads((PREPARED / "meta.json").read_text()) | changes
        kept = {name: value for name, value in values.items() if value is not None}
        (PREPARED / "meta.json").write_text(json.dumps(kept))

    return damage


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Break:
    """Change a prepared array."""

    def damage() -> None:
        path = PREPARED / f"{name}.npy"
        np.save(path, change(np.load(path)))

    return damage


def checkpoint(name: str = "convnet", classes: int = 3, side: int = 8) -> Break:
    """Replace the checkpoint by an untrained one."""

    def damage() -> None:
        spec = ModelSpec(name, classes, (side, side, 3))
        model = build(name, classes=classes, image_shape=(side, side, 3), stem="cifar", seed=0)
        weights.save(model, spec, MODEL)

    return damage


def checkpoint_saying(**changes: str) -> Break:
    """Change what a checkpoint says of itself, or the shapes it holds."""

    def damage() -> None:
        import safetensors
        import safetensors.torch

        with safetensors.safe_open(MODEL, framework="pt") as file:
            metadata = file.metadata() | changes
        tensors = safetensors.torch.load_file(MODEL)
        safetensors.torch.save_file(tensors, MODEL, metadata)

    return damage


def checkpoint_holding(change: Callable[[dict[str, torch.Tensor]], object]) -> Break:
    """Change the tensors of a checkpoint in place."""

    def damage() -> None:
        import safetensors
        import safetensors.torch

        with safetensors.safe_open(MODEL, framework="pt") as file:
            metadata = file.metadata()
        tensors = safetensors.torch.load_file(MODEL)
        change(tensors)
        safetensors.torch.save_file(tensors, MODEL, metadata)

    return damage


def table(name: str, *changes: pl.Expr, where: pl.Expr | None = None, schema: str = "1") -> Break:
    """Change columns or keep some rows of a table of the run."""

    def damage() -> None:
        path = RUN / f"{name}.parquet"
        frame = pl.read_parquet(path).with_columns(*changes)
        metadata = {"crest_table": name, "crest_schema": schema}
        frame.filter(pl.lit(True) if where is None else where).write_parquet(
            path, metadata=metadata
        )

    return damage


def first_row(column: str, value: Any) -> pl.Expr:
    """Replace a column's value in row 0."""
    kind = artifacts.TABLES["coresets"][column]
    values = pl.lit(value, dtype=kind)
    return pl.when(pl.int_range(pl.len()) == 0).then(values).otherwise(column).alias(column)


def without(name: str, column: str) -> Break:
    """Drop a column of a table."""

    def damage() -> None:
        path = RUN / f"{name}.parquet"
        metadata = {"crest_table": name, "crest_schema": "1"}
        pl.read_parquet(path).drop(column).write_parquet(path, metadata=metadata)

    return damage


def unfinished(damage: Break = nothing) -> Break:
    """Put the state of the unfinished run in its place, and break something more."""

    def put() -> None:
        STATE.parent.mkdir()
        UNFINISHED.rename(STATE)
        damage()

    return put


@contextmanager
def no_space(limit: int = 4096) -> Iterator[None]:
    """Let no file grow beyond ``limit`` bytes, as a disk that is full would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only() -> Iterator[None]:
    """Refuse every new file and folder; permissions would not bind root."""
    error = OSError(errno.EROFS, os.strerror(errno.EROFS))
    with (
        patch("tempfile.mkdtemp", side_effect=error),
        patch("tempfile.mkstemp", side_effect=error),
    ):
        yield


def no_cuda() -> AbstractContextManager[object]:
    """A machine without a GPU."""
    return patch("torch.cuda.is_available", return_value=False)


# ---------------------------------------------------------------------------------------- the cases

PARAMETERS = [
    Case("no file", "train", r"", gone("params.yaml"), 2),
    Case("another file that is not there", "train --params mine.yaml", r"", code=2),
    Case("a folder in its place", "train", r"", as_folder("params.yaml"), 2),
    Case("not text", "train", r"", params(b"\xff\xfe\x00train"), 2),
    Case("not YAML", "train", r"", params("train: {lr: 0.1\n"), 2),
    Case("a tab for spaces", "train", r"", params("train:\n\tlr: 1\n"), 2),
    Case("a key twice", "train", r"", params("train:\n  lr: 1\n  lr: 2\n"), 2),
    Case("a YAML tag that builds objects", "train", r"", params("train: !!python/name:os.system\n"), 2),
    Case("a list", "train", r"", params("- train\n"), 2),
    Case("a single word", "train", r"", params("crest\n"), 2),
    Case("a section that is a number", "train", r"", params("train: 3\n"), 2),
    Case("an unknown section", "train", r"", params("trian: {lr: 0.1}\n"), 2),
    Case("an unknown key", "train", r"", params("train: {learning_rate: 0.1}\n"), 2),
    Case("a key of another section", "train", r"", params("crest: {lr: 0.1}\n"), 2),
    Case("text for a number", "train", r"", params("train: {lr: fast}\n"), 2),
    Case("a number for text", "train", r"", params("train: {model: 20}\n"), 2),
    Case("text for true or false", "train", r"", params("train: {nesterov: 'yes'}\n"), 2),
    Case("a fraction for a whole number", "train", r"", params("train: {batch_size: 8.5}\n"), 2),
    Case("a name for a list", "train", r"", params("train: {methods: crest}\n"), 2),
    Case("null where a value is needed", "train", r"", params("train: {epochs: null}\n"), 2),
    Case("NaN", "train -S train.lr=.nan", r"", code=2),
    Case("infinity", "train -S train.weight_decay=.inf", r"", code=2),
    Case("a negative learning rate", "train -S train.lr=-0.1", r"", code=2),
    Case("a budget above 1", "train -S train.budget=1.5", r"", code=2),
    Case("a budget of 0", "train -S train.budget=0", r"", code=2),
    Case("a negative seed", "train -S train.seed=-1", r"", code=2),
    Case("a mini-batch of 0", "train -S train.batch_size=0", r"", code=2),
    Case("a validation share of 1", "prepare -S prepare.validation=1", r"", code=2),
    Case("a subset size of 1.5", "train -S crest.subset_size=1.5", r"", code=2),
    Case("an unknown schedule", "train -S train.schedule=linear", r"", code=2),
    Case("an unknown device", "train -S train.device=gpu", r"", code=2),
    Case("an unknown model", "train -S train.model=resnet19", r"", code=2),
    Case("an unknown method", "train --method crst", r"", code=2),
    Case("an unknown proxy", "train -S crest.proxy=pixels", r"", code=2),
    Case("an unknown data set", "prepare -S prepare.dataset=digit", r"", code=2),
    Case("an unknown preset", "preset cifar", r"", code=2),
    Case("a model that is too deep for the images", "train -S train.model=alexnet", r"", code=2),
    Case("a mini-batch larger than the data", "train --method random -S train.batch_size=100", r"", code=2),
    Case("a subset larger than the data", "train -S crest.subset_size=100", r"", code=2),
    Case("a subset smaller than a mini-batch", "train -S crest.subset_size=4", r"", code=2),
    Case("no methods", "train -S train.methods=[]", r"", code=2),
    Case("a method twice", "train -S 'train.methods=[full, full]'", r"", code=2),
    Case("a method that leads elsewhere", "train -S train.methods=[../../x]", r"", code=2),
    Case("a model that leads elsewhere", "reuse --model ../../x", r"", code=2),
    Case("scores from a method that was not run", "analyze -S analyze.scores_from=full", r"", code=2),
    Case("-S without a value", "train -S train.lr", r"", code=2),
    Case("-S without a section", "train -S lr=0.1", r"", code=2),
    Case("-S with a value that is not YAML", "train -S 'train.lr=[0.1'", r"", code=2),
    Case("-S into what is no section", "train -S report.title=x", r"", params("report: text\n"), 2),
    Case("-S with two faults", "train -S train.lr=0 -S crest.proxi=logits", r"", code=2),
]

PARQUET = [
    Case("no source", "prepare -S prepare.source=null", r"", code=2),
    Case("a folder that is not there", "prepare -S prepare.source=nowhere", r""),
    Case("a file for a folder", "prepare -S prepare.source=source/train.parquet", r""),
    Case("an address of another kind", "prepare -S prepare.source=https://example.com/data", r"", code=2),
    Case("a hub address cut short", "prepare -S prepare.source=hf://datasets/name", r"", code=2),
    Case("no Parquet files", "prepare", r"", both(gone(TRAIN), gone(TEST))),
    Case("no training split", "prepare", r"", gone(TRAIN)),
    Case("no test split", "prepare", r"", gone(TEST)),
    Case("one shard of two", "prepare", r"", both(gone(TRAIN), columns(Path("source/train-00000-of-00002.parquet")))),
    Case("a truncated file", "prepare", r"", cut(TRAIN)),
    Case("a file cut in its last byte", "prepare", r"", cut(TRAIN, 0.9999)),
    Case("a file of 0 bytes", "prepare", r"", cut(TRAIN, 0.0)),
    Case("a CSV file named .parquet", "prepare", r"", content(TRAIN, b"image,label\n" * 9)),
    Case("zeros in the middle", "prepare", r"", zeros(TRAIN, 20, 4000)),
    Case("no image column", "prepare", r"", columns(image=None)),
    Case("no label column", "prepare", r"", columns(label=None)),
    Case("another image column in test", "prepare", r"", columns(TEST, image=None, picture=[png(0)] * 12)),
    Case("two columns of one name", "prepare", r"", twice_named),
    Case("images that are numbers", "prepare", r"", columns(image=list(range(ROWS)))),
    Case("images that are paths", "prepare", r"", columns(image=["a.png"] * ROWS)),
    Case("images that are only named", "prepare", r"", columns(image=[{"path": "a.png"}] * ROWS)),
    Case("labels that are fractions", "prepare", r"", columns(label=[0.0, 1.0, 2.0] * 16)),
    Case("a label that is NaN", "prepare", r"", columns(label=row(5, float("nan")))),
    Case("labels that are lists", "prepare", r"", columns(label=[[0], [1], [2]] * 16)),
    Case("labels that are true or false", "prepare", r"", columns(label=[True, False] * 24)),
    Case("a null label", "prepare", r"", columns(label=row(7, None))),
    Case("all labels null", "prepare", r"", columns(label=[None] * ROWS)),
    Case("a negative label", "prepare", r"", columns(label=row(7, -1))),
    Case("a label beyond prepare.classes", "prepare -S prepare.classes=2", r""),
    Case("a gap in the labels", "prepare", r"", columns(label=[0, 1, 3] * 16)),
    Case("more classes than there are", "prepare -S prepare.classes=5", r""),
    Case("numbers in train, names in test", "prepare", r"", columns(TEST, label=["ant"] * 12)),
    Case("one class only", "prepare", r"", both(columns(label=[0] * ROWS), columns(TEST, label=[0] * 12))),
    Case("a class only in test", "prepare", r"", columns(TEST, label=row(3, 3))),
    Case("a class name only in test", "prepare", r"", both(columns(label=["ant", "bee"] * 24), columns(TEST, label=row(3, "cat")))),
    Case("a class with one example, held out", "prepare -S prepare.validation=0.5", r"", columns(label=[0] * 24 + [1] * 23 + [2]), 2),
    Case("a validation share that holds out nothing", "prepare -S prepare.validation=0.001", r"", code=2),
    Case("an empty training split", "prepare", r"", columns(image=[b""][:0], label=[0][:0])),
    Case("an empty test split", "prepare", r"", columns(TEST, image=[b""][:0], label=[0][:0])),
    Case("a null image", "prepare", r"", columns(image=row(7, None))),
    Case("an image of 0 bytes", "prepare", r"", columns(image=row(7, b""))),
    Case("text for an image", "prepare", r"", columns(image=row(7, b"not an image"))),
    Case("a truncated PNG", "prepare", r"", columns(image=row(7, png(7)[:90]))),
    Case("a truncated JPEG", "prepare", r"", columns(image=row(7, png(7, form="JPEG")[:-200]))),
    Case("a PNG with damaged bytes", "prepare", r"", columns(image=row(7, png(7)[:60] + b"\0" * 40 + png(7)[100:]))),
    Case("a first image that is damaged", "prepare", r"", columns(image=row(0, b"GIF89a"))),
    Case("a PostScript file, which Pillow would run", "prepare", r"", columns(image=row(7, b"%!PS-Adobe-3.0 EPSF-3.0\n"))),
    Case("images of two sizes", "prepare", r"", columns(image=row(7, png(7, (9, 8))))),
    Case("a test image of another size", "prepare", r"", columns(TEST, image=row(3, png(3, (9, 8))))),
]

FOLDERS = [
    Case("no training folder", FOLDER, r"", gone("images/train")),
    Case("no test folder", FOLDER, r"", gone("images/test")),
    Case("no classes in a split", FOLDER, r"", both(gone("images/test/ant"), gone("images/test/bee"))),
    Case("a class without images", FOLDER, r"", both(gone("images/train/bee"), content("images/train/bee/notes.txt", b"?"))),
    Case("one class only", FOLDER, r"", both(gone("images/train/bee"), gone("images/test/bee"))),
    Case("a class only in test", FOLDER, r"", gone("images/train/bee")),
    Case("a text file named .png", FOLDER, r"", content("images/train/bee/3.png", b"a bee\n")),
    Case("an image file of 0 bytes", FOLDER, r"", content("images/train/ant/0.png", b"")),
    Case("an image file cut short", FOLDER, r"", cut("images/train/bee/3.png")),
    Case("an image of another size", FOLDER, r"", content("images/test/bee/3.png", png(0, (4, 4)))),
    Case("a folder named like an image", FOLDER, r"", as_folder("images/train/bee/3.png")),
    Case("columns for an image folder", f"{FOLDER} -S prepare.label_column=label", r"", code=2),
]

PREPARED_DATA = [
    Case("nothing prepared", "train", r"", gone(PREPARED)),
    Case("no meta.json", "train", r"", gone(PREPARED / "meta.json")),
    Case("meta.json cut short", "train", r"", cut(PREPARED / "meta.json")),
    Case("meta.json that is a list", "train", r"", content(PREPARED / "meta.json", b"[]")),
    Case("meta.json of a newer schema", "train", r"", meta(schema_version=2)),
    Case("meta.json without classes", "train", r"", meta(classes=None)),
    Case("meta.json with classes that are no list", "train", r"", meta(classes=3)),
    Case("meta.json with means that are text", "train", r"", meta(mean=["a", "b", "c"])),
    Case("meta.json with a deviation of 0", "train", r"", meta(std=[0.0, 0.0, 0.0])),
    Case("meta.json with sizes that are no numbers", "train", r"", meta(sizes={"train": "many", "test": 12})),
    Case("meta.json with more examples than there are", "train", r"", meta(sizes={"train": 99, "test": 12})),
    Case("no training images", "train", r"", gone(PREPARED / "train_images.npy")),
    Case("training images cut short", "train", r"", cut(PREPARED / "train_images.npy")),
    Case("labels cut short", "evaluate", r"", cut(PREPARED / "test_labels.npy")),
    Case("images that are no array", "train", r"", content(PREPARED / "train_images.npy", b"pixels" * 99)),
    Case("an array of Python objects", "train", r"", array("train_labels", lambda labels: labels.astype(object))),
    Case("images of another shape", "train", r"", array("train_images", lambda images: images[:, :4])),
    Case("images of another type", "train", r"", array("train_images", lambda images: images / 255.0)),
    Case("labels outside the classes", "train", r"", array("train_labels", lambda labels: labels + 1)),
    Case("no validation labels", "train", r"", gone(PREPARED / "validation_labels.npy")),
]

CHECKPOINTS = [
    Case("no model", "evaluate", r"", gone(MODEL)),
    Case("a checkpoint that is not there", "select --checkpoint none.safetensors --json", r""),
    Case("a folder for a checkpoint", f"select --checkpoint {RUN} --json", r""),
    Case("a model cut short", "evaluate", r"", cut(MODEL)),
    Case("a model of 0 bytes", "evaluate", r"", cut(MODEL, 0.0)),
    Case("a pickled model", SELECT, r"", content(MODEL, b"\x80\x04\x95" + b"torch" * 99)),
    Case("a model of other classes", "evaluate", r"", checkpoint(classes=5)),
    Case("a model for images of another size", "evaluate", r"", checkpoint(side=16)),
    Case("a model that says it is another", SELECT, r"", checkpoint_saying(model="resnet20")),
    Case("a model that nobody knows", SELECT, r"", checkpoint_saying(model="bignet")),
    Case("a model that lacks a tensor", SELECT, r"", checkpoint_holding(lambda tensors: tensors.popitem())),
    Case("a model of a newer format", "evaluate", r"", checkpoint_saying(schema_version="2")),
    Case("a description that makes no sense", "evaluate", r"", checkpoint_saying(classes="three")),
    Case("tensors that do not say whose they are", SELECT, r"", checkpoint_holding(lambda tensors: tensors.clear())),
    Case("weights that are NaN", SELECT, r"", checkpoint_holding(lambda tensors: [tensor.fill_(torch.nan) for tensor in tensors.values() if tensor.is_floating_point()])),
    Case("metrics cut short", "evaluate", r"", cut(RUN / "metrics.json")),
    Case("metrics without a figure", "evaluate", r"", content(RUN / "metrics.json", b"{}")),
]

REUSE = "reuse --model convnet"
SAVED_CORESETS = [
    Case("no run", f"{REUSE} --coresets artifacts/train/full", r""),
    Case("a run that selects nothing", REUSE, r"", gone(CORESETS)),
    Case("an index out of range", REUSE, r"", table("coresets", first_row("index", 1000))),
    Case("a negative index", REUSE, r"", table("coresets", first_row("index", -1))),
    Case("a negative weight", REUSE, r"", table("coresets", first_row("weight", -0.5))),
    Case("a weight that is NaN", REUSE, r"", table("coresets", first_row("weight", float("nan")))),
    Case("an infinite weight", "train --method replay", r"", table("coresets", first_row("weight", float("inf")))),
    Case("weights that are all 0", REUSE, r"", table("coresets", pl.col("weight") * 0)),
    Case("a null", REUSE, r"", table("coresets", first_row("index", None))),
    Case("other data", REUSE, r"", table("coresets", (pl.col("label") + 1) % 3)),
    Case("no rows", REUSE, r"", table("coresets", where=pl.lit(False))),
    Case("a missing region", REUSE, r"", table("coresets", where=pl.col("region") != 1)),
    Case("a missing mini-batch", REUSE, r"", table("coresets", where=pl.col("minibatch") != 0)),
    Case("a step on a mini-batch that is not there", REUSE, r"", table("steps", pl.col("minibatch") + 50)),
    Case("a newer schema", REUSE, r"", table("coresets", schema="2")),
    Case("another table", f"{REUSE} --coresets {RUN}/steps.parquet", r""),
    Case("somebody else's Parquet file", f"{REUSE} --coresets {TRAIN}", r""),
    Case("a missing column", REUSE, r"", without("coresets", "weight")),
    Case("a column of another type", REUSE, r"", table("coresets", pl.col("index").cast(pl.String))),
    Case("a file cut short", REUSE, r"", cut(CORESETS)),
    Case("zeros in the middle", REUSE, r"", zeros(CORESETS, 4, 400)),
    Case("steps cut short", REUSE, r"", cut(RUN / "steps.parquet")),
    Case("analysed with an index out of range", "analyze", r"", table("coresets", first_row("index", 1000))),
    Case("analysed without its regions", "analyze", r"", gone(RUN / "regions.parquet")),
    Case("reported without an evaluation", "report", r"", gone("artifacts/evaluate/crest")),
    Case("reported without an analysis", "report", r"", gone("artifacts/analyze")),
    Case("reported from metrics that are text", "report", r"", content("artifacts/evaluate/crest/metrics.json", b'{"accuracy": "high"}')),
    Case("shown before it was made", "report --show", r"", gone("artifacts/report")),
]

UNFINISHED_RUNS = [
    Case("a state cut short", "train --method random", r"", unfinished(cut(STATE))),
    Case("a state of 0 bytes", "train --method random", r"", unfinished(cut(STATE, 0.0))),
    Case("a state that is none", "train --method random", r"", unfinished(content(STATE, b"\x80\x04state" * 50))),
    Case("other parameters", "train --method random -S train.lr=0.2", r"", unfinished()),
    Case("other data", "train --method random", r"", unfinished(meta(content_hash="other"))),
    Case("a state of another program", "train --method random", r"", unfinished(lambda: shutil.copy(MODEL, STATE))),
]

SURROUNDINGS = [
    Case("no space for images", "prepare", r"", surroundings=no_space),
    Case("no space for labels", "prepare", r"", surroundings=lambda: no_space(200)),
    Case("no space for a model", "train", r"", surroundings=no_space),
    Case("no space for the tables of a run", "train", r"", surroundings=lambda: no_space(200)),
    Case("no space for a state", "train --method random -S train.save_interval=0", r"", surroundings=no_space),
    Case("no space for predictions", "evaluate", r"", surroundings=lambda: no_space(500)),
    Case("no space for coresets", f"select --checkpoint {MODEL} --out c.parquet", r"", surroundings=lambda: no_space(500)),
    Case("no space for an analysis", "analyze", r"", surroundings=no_space),
    Case("no space for a report", "report", r"", surroundings=no_space),
    Case("no space for parameters", "preset digits", r"", surroundings=lambda: no_space(50)),
    Case("a read-only disk, preparing", "prepare", r"", surroundings=read_only),
    Case("a read-only disk, training", "train", r"", surroundings=read_only),
    Case("a read-only disk, evaluating", "evaluate", r"", surroundings=read_only),
    Case("a file where data/ is to be", "prepare", r"", as_file("data")),
    Case("a file where data/prepared is to be", "prepare", r"", as_file(PREPARED)),
    Case("a file where the run is to be", "train", r"", as_file(RUN)),
    Case("a file where .resume/ is to be", "train --method random", r"", content(".resume", b"")),
    Case("a folder where coresets are to be", f"select --checkpoint {MODEL} --out artifacts", r""),
    Case("CUDA where there is none", "train -S train.device=cuda", r"", code=2, surroundings=no_cuda),
    Case("the third GPU where there is none", "evaluate -S train.device=cuda:2", r"", code=2, surroundings=no_cuda),
    Case("a loss that is no number", "train --method random -S train.lr=1e30", r""),
]

CASES = {
    "Parameters": PARAMETERS,
    "Parquet files": PARQUET,
    "Image folders": FOLDERS,
    "Prepared data": PREPARED_DATA,
    "Checkpoints": CHECKPOINTS,
    "Coresets and runs": SAVED_CORESETS,
    "The state of an unfinished run": UNFINISHED_RUNS,
    "The machine": SURROUNDINGS,
}


def meet(case: Case, project: Path, folder: Path) -> tuple[Result, dict[Path, bytes], dict[Path, bytes]]:
    """Run a case in a copy of the project; returns its end, and all files before and after."""
    shutil.copytree(project, folder, dirs_exist_ok=True)
    with chdir(folder):
        case.damage()
        before = files()
        with case.surroundings():
            result = invoke(case.command)
        return result, before, files()


def files() -> dict[Path, bytes]:
    """Return every file of the working folder."""
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def main() -> None:
    """Print the table of cases with the messages that they get."""
    with tempfile.TemporaryDirectory() as top:
        project = Path(top, "project")
        project.mkdir()
        make_project(project)
        for group, cases in CASES.items():
            print(f"## {group}\n")
            for place, case in enumerate(cases):
                result, before, after = meet(case, project, Path(top, f"{group}{place}"))
                flag = "" if before == after else " CHANGED " + str([p for p in before.keys()|after.keys() if before.get(p)!=after.get(p)])
                dirs = [p for p in Path(top, f"{group}{place}").rglob("*") if "part" in p.suffix or p.suffix == ".earlier"]
                print(f"{case.name} | `{case.command}` | {result.exit_code}{'' if result.exit_code==case.code else '!!!'} | {result.stderr.strip()} {repr(result.exception) if not isinstance(result.exception, SystemExit) else ''}{flag}{dirs or ''}{result.stdout}")
                shutil.rmtree(Path(top, f"{group}{place}"))


if __name__ == "__main__":
    main()
