"""Everything a user or a machine may get wrong, and what the command line answers.

    python -m tests.bad_input > docs/errors.md

Each case breaks a copy of a small project in one way and runs one command in it.
"""

import errno
import hashlib
import io
import json
import os
import re
import resource
import shlex
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

# No case asks the network; before transformers is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import polars as pl
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import cli
from crest import artifacts
from crest.models import ModelSpec, build, weights
from tests.tiny_text import tiny_tokenizer

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
crest: {subset_size: 16, minibatch_factor: 2.0, threshold: 1.0e-9}
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
IMAGE_7 = "source/train.parquet, column 'image', row 7 …"
PREPARE_AGAIN = "run `python cli.py prepare` again"
SELECT_AGAIN = "select them again, by training with the method they come from"
TRAIN_AGAIN = "train it again, or name another file"
AFRESH = "to start afresh, run `python cli.py train --fresh` or remove the file"
SELECT = f"select --checkpoint {MODEL} --json"
FOLDER = "prepare -S prepare.dataset=folder -S prepare.source=images"
TEXTS = (
    "prepare -S prepare.dataset=text -S prepare.source=texts -S prepare.workers=null "
    "-S prepare.tokenizer=tokenizer -S prepare.validation=0"
)
CSV = b"text,label\na cat,0\na dog,1\nno,0\na ball,1\n"


def nothing() -> None:
    """Leave the project whole: the command itself is wrong."""


@dataclass(frozen=True)
class Case:
    """One way to get it wrong.

    Parameters
    ----------
    expected
        The whole message after 'error: '; … stands for anything, such as what a library says.
    damage
        Breaks the project, its folder being the working folder.
    surroundings
        Holds while the command runs.
    """

    name: str
    command: str
    expected: str
    damage: Break = nothing
    code: int = 1
    surroundings: Surroundings = nullcontext

    def expects(self, message: str) -> bool:
        """Whether a message is the expected one."""
        pattern = ".*".join(map(re.escape, self.expected.split("…")))
        return re.fullmatch(pattern, message) is not None


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
            for place in range(5):
                Path("images", name, f"{place}.png").write_bytes(png(5 * number + place))
        tiny_tokenizer(Path("tokenizer"))
        for split in ("train", "test"):
            content(f"texts/{split}.csv", CSV)()
        for command in ("prepare", "train", "evaluate", "analyze", "report"):
            done = invoke(command)
            assert done.exit_code == 0, done.output
        with patch("stages.signals.noted", lambda **_: nullcontext(lambda: 15)):
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


def empty(path: Path) -> Break:
    """Take all rows out of a split."""
    return lambda: pl.read_parquet(path).head(0).write_parquet(path)


def deep_png() -> bytes:
    """Return a PNG of 16 bits a channel."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(stream, "PNG")
    return stream.getvalue()


def bomb() -> bytes:
    """Return a PNG of a few bytes that says it has 60,000 x 60,000 pixels."""
    whole = png(0)
    head = b"IHDR" + struct.pack(">II", 60_000, 60_000) + whole[24:29]
    return whole[:12] + head + struct.pack(">I", zlib.crc32(head)) + whole[33:]


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


def table(
    name: str, *changes: pl.Expr, where: pl.Expr | None = None, schema: int | None = None
) -> Break:
    """Change columns or keep some rows of a table of the run."""

    def damage() -> None:
        path = RUN / f"{name}.parquet"
        frame = pl.read_parquet(path).with_columns(*changes)
        version = schema or artifacts.schema_version(name)
        metadata = {"crest_table": name, "crest_schema": str(version)}
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
        metadata = {"crest_table": name, "crest_schema": str(artifacts.schema_version(name))}
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

# fmt: off

PARAMETERS = [
    Case("no file", "train",
         "params.yaml: no such parameter file; run in the project folder or name one with "
         "--params", gone("params.yaml"), code=2),
    Case("another file that is not there", "train --params mine.yaml",
         "mine.yaml: no such parameter file; run in the project folder or name one with "
         "--params", code=2),
    Case("a folder in its place", "train",
         "params.yaml: cannot be read: [Errno 21] Is a directory: 'params.yaml'",
         as_folder("params.yaml"), code=2),
    Case("not text", "train",
         "params.yaml: cannot be read: 'utf-8' codec can't decode …",
         params(b"\xff\xfe\x00train"), code=2),
    Case("not YAML", "train",
         "params.yaml: not valid YAML: line 2: …", params("train: {lr: 0.1\n"), code=2),
    Case("a tab for spaces", "train",
         "params.yaml: not valid YAML: line 2: …", params("train:\n\tlr: 1\n"), code=2),
    Case("a key twice", "train",
         "params.yaml: not valid YAML: line 3: …", params("train:\n  lr: 1\n  lr: 2\n"), code=2),
    Case("a YAML tag that builds objects", "train",
         "params.yaml: not valid YAML: line 1: …",
         params("train: !!python/name:os.system\n"), code=2),
    Case("a list", "train",
         "params.yaml: must hold sections such as 'train:', not ['train']",
         params("- train\n"), code=2),
    Case("a single word", "train",
         "params.yaml: must hold sections such as 'train:', not 'crest'",
         params("crest\n"), code=2),
    Case("a section that is a number", "train",
         "params.yaml: train: must be a section of keys, got 3", params("train: 3\n"), code=2),
    Case("an unknown section", "train",
         "params.yaml: trian: unknown key; did you mean 'train'?",
         params("trian: {lr: 0.1}\n"), code=2),
    Case("an unknown key", "train",
         "params.yaml: train.learning_rate: unknown key",
         params("train: {learning_rate: 0.1}\n"), code=2),
    Case("a key of another section", "train",
         "params.yaml: crest.lr: unknown key; did you mean 'train.lr'?",
         params("crest: {lr: 0.1}\n"), code=2),
    Case("text for a number", "train",
         "params.yaml: train.lr: must be a number, got 'fast'",
         params("train: {lr: fast}\n"), code=2),
    Case("a number for text", "train",
         "params.yaml: train.model: must be text, got 20", params("train: {model: 20}\n"), code=2),
    Case("text for true or false", "train",
         "params.yaml: train.nesterov: must be true or false, got 'yes'",
         params("train: {nesterov: 'yes'}\n"), code=2),
    Case("a fraction for a whole number", "train",
         "params.yaml: train.batch_size: must be a whole number, got 8.5",
         params("train: {batch_size: 8.5}\n"), code=2),
    Case("a name for a list", "train",
         "params.yaml: train.methods: must be a list, such as [crest, random], got 'crest'",
         params("train: {methods: crest}\n"), code=2),
    Case("null where a value is needed", "train",
         "params.yaml: train.epochs: must be a number, got None",
         params("train: {epochs: null}\n"), code=2),
    Case("NaN", "train -S train.lr=.nan",
         "params.yaml with -S: train.lr: must be a finite number, got nan", code=2),
    Case("infinity", "train -S train.weight_decay=.inf",
         "params.yaml with -S: train.weight_decay: must be a finite number, got inf", code=2),
    Case("a negative learning rate", "train -S train.lr=-0.1",
         "params.yaml with -S: train.lr: must be greater than 0, got -0.1", code=2),
    Case("a budget above 1", "train -S train.budget=1.5",
         "params.yaml with -S: train.budget: must be less than or equal to 1, got 1.5", code=2),
    Case("a budget of 0", "train -S train.budget=0",
         "params.yaml with -S: train.budget: must be greater than 0, got 0", code=2),
    Case("a negative seed", "train -S train.seed=-1",
         "params.yaml with -S: train.seed: must be greater than or equal to 0, got -1", code=2),
    Case("a mini-batch of 0", "train -S train.batch_size=0",
         "params.yaml with -S: train.batch_size: must be greater than or equal to 1, got 0",
         code=2),
    Case("a validation share of 1", "prepare -S prepare.validation=1",
         "params.yaml with -S: prepare.validation: must be less than 1, got 1", code=2),
    Case("a subset size of 1.5", "train -S crest.subset_size=1.5",
         "params.yaml with -S: crest.subset_size: a share lies between 0 and 1; write a "
         "count as a whole number, got 1.5", code=2),
    Case("more threads than a machine can have", "train -S train.threads=100000",
         "params.yaml with -S: train.threads: must be less than or equal to 1024, got 100000",
         code=2),
    Case("a mini-batch beyond all numbers",
         "evaluate -S evaluate.batch_size=1000000000000000000000",
         "params.yaml with -S: evaluate.batch_size: must be less than 2147483648, got "
         "1000000000000000000000", code=2),
    Case("more padding than image", "train -S train.augment_crop=9",
         "train.augment_crop: 9 pixels of padding are more than an image of 8×8 pixels has; "
         "use at most 8", code=2),
    Case("an unknown schedule", "train -S train.schedule=step",
         "params.yaml with -S: train.schedule: must be 'steps', 'cosine' or 'linear', got 'step'",
         code=2),
    Case("an unknown device", "train -S train.device=gpu",
         "params.yaml with -S: train.device: must be auto, cpu, cuda or cuda:N, got 'gpu'", code=2),
    Case("an unknown model", "train -S train.model=resnet19",
         "train.model: unknown model 'resnet19'; did you mean …", code=2),
    Case("an unknown method", "train --method crst",
         "--method, train.methods: 'crst' is not one of full, random, crest, replay…", code=2),
    Case("an unknown proxy", "train -S crest.proxy=pixels",
         "crest.proxy: 'pixels' is not one of logits, last_input", code=2),
    Case("an unknown choice", "train -S crest.choice=best",
         "crest.choice: 'best' is not one of facility_location, medoids, balanced", code=2),
    Case("an unknown data set", "prepare -S prepare.dataset=digit",
         "prepare.dataset: unknown data set 'digit'; known: …; did you mean 'digits'?", code=2),
    Case("an unknown preset", "preset cifar", "preset: 'cifar' is not one of …", code=2),
    Case("activations to be computed again of a model without blocks",
         "train -S train.activation_checkpointing=true",
         "train.activation_checkpointing: ConvNet has no blocks of layers in a …; set it to false, "
         "…", code=2),
    Case("a model that is too deep for the images", "train -S train.model=alexnet",
         "train.model: alexnet cannot take images of 8 x 8 pixels …; use larger images "
         "(prepare.image_size) or a model for small ones, such as convnet", code=2),
    Case("a mini-batch larger than the data", "train --method random -S train.batch_size=100",
         "train.batch_size: a mini-batch of 100 is larger than the training set of 42 "
         "examples; use at most 42", code=2),
    Case("a subset larger than the data", "train -S crest.subset_size=100",
         "crest.subset_size: 100 is 100 of 42 examples; make it smaller", code=2),
    Case("a subset smaller than a mini-batch", "train -S crest.subset_size=4",
         "crest.subset_size: 4 is 4 of 42 examples, less than train.batch_size (8); make it "
         "larger", code=2),
    Case("a coreset smaller than a mini-batch", "train --method craig",
         "craig.coreset_size: 0.1 is 4 of 42 examples, less than train.batch_size (8); make it "
         "larger", code=2),
    Case("a gradient of other parameters for each class",
         "train --method gradmatch -S gradmatch.per_class=false -S gradmatch.coreset_size=0.5",
         "gradmatch.proxy: 'own_weights' is not one of logits, last_input", code=2),
    Case("an enlarged mini-batch that is larger than the data",
         "train --method large -S large.factor=6.0",
         "large.factor: 6 times train.batch_size: 48 is more than the 42 training examples; make "
         "it smaller", code=2),
    Case("remembered looks chosen from ahead", "train -S crest.looks=remembered",
         "params.yaml with -S: crest.looks: remembered needs crest.selection: as_used, got "
         "'remembered'", code=2),
    Case("a focus without rounds", "train -S crest.focus=0.5",
         "params.yaml with -S: crest.focus: above 0 needs crest.draw: rounds or stratified_rounds, "
         "got 0.5", code=2),
    Case("a ceiling without a focus", "train -S crest.focus_ceiling=1.0",
         "params.yaml with -S: crest.focus_ceiling: needs a focus above 0; without one all come "
         "alike, got 1.0", code=2),
    Case("a ceiling without a focus, of focused",
         "train -S focused.focus=0.0 -S focused.focus_ceiling=1.0",
         "params.yaml with -S: focused.focus_ceiling: needs a focus above 0; without one all come "
         "alike, got 1.0", code=2),
    Case("more mini-batches than a subset holds", "train -S crest.subset_coresets=3",
         "crest.subset_coresets: 3 mini-batches of 8 examples, all different, do not fit into "
         "subsets of 16; lower it or raise crest.subset_size", code=2),
    Case("no methods", "train -S train.methods=[]",
         "params.yaml with -S: train.methods: must list at least one, got []", code=2),
    Case("a method twice", "train -S 'train.methods=[full, full]'",
         "params.yaml with -S: train.methods: lists 'full' twice, got ['full', 'full']", code=2),
    Case("a method that leads elsewhere", "train -S train.methods=[../../x]",
         "params.yaml with -S: train.methods.0: must be a name of letters, digits and . _ -,"
         " as folders have, got '../../x'", code=2),
    Case("a model that leads elsewhere", "reuse --model ../..",
         "--method, --model: '..' is no name of one; use letters, digits and - _ . only",
         code=2),
    Case("a model to reuse within another", "reuse -S 'reuse.models=[owner, owner/bert]'",
         "params.yaml with -S: reuse.models: lists 'owner/bert' within 'owner'; rename one, got "
         "['owner', 'owner/bert']", code=2),
    Case("a model to reuse that leads elsewhere", "reuse -S reuse.models=[../bert]",
         "params.yaml with -S: reuse.models.0: must be a model's name, OWNER/NAME or a folder "
         "within the project: letters, digits and . _ -, got '../bert'", code=2),
    Case("coresets that go nowhere", f"select --checkpoint {MODEL}",
         "select: say where the coresets go: --out FILE, --out - or --json", code=2),
    Case("coresets twice into one stream", f"{SELECT} --out -",
         "select: --out - and --json both go to stdout; leave one out", code=2),
    Case("regions that are no range", "export --out c.csv --regions 3",
         "--regions 3: write it as A:B, for the regions from A up to but not including B; either "
         "may be left out", code=2),
    Case("regions that there are not", "export --out c.csv --regions 99:",
         "--regions 99:: none of the coresets' regions, 0 to …", code=2),
    Case("an export over other files", "export --out source",
         "--out source: a folder that holds test.parquet, which is not of an export; name a new "
         "one, or a file that ends in .csv", code=2),
    Case("an export to a file of Parquet", "export --out subset.parquet",
         "--out subset.parquet: a data set is a folder of Parquet files; name one without .parquet",
         code=2),
    Case("a quadratic model of nothing", "train -S crest.quadratic=head.*",
         "crest.quadratic: 'head.*' is neither full, last_layer nor a pattern of a parameter's "
         "name; the last ones are …, linear.weight, linear.bias", code=2),
    Case("scores from a method that was not run", "analyze -S analyze.scores_from=full",
         "analyze.scores_from: 'full' was not run; name one of train.methods: crest", code=2),
    Case("-S without a value", "train -S train.lr",
         "-S train.lr: write it as section.key=value, e.g. train.budget=0.2", code=2),
    Case("-S without a section", "train -S lr=0.1",
         "-S lr=0.1: write it as section.key=value, e.g. train.budget=0.2", code=2),
    Case("-S with a value that is not YAML", "train -S 'train.lr=[0.1'",
         "-S train.lr=[0.1: the value '[0.1' is not valid YAML: line 1: …", code=2),
    Case("-S into what is no section", "train -S report.title=x",
         "-S report.title=x: 'report' is not a section of keys", params("report: text\n"), code=2),
    Case("-S with two faults", "train -S train.lr=0 -S crest.proxi=logits",
         "params.yaml with -S: train.lr: must be greater than 0, got 0\nparams.yaml with -S: "
         "crest.proxi: unknown key; did you mean 'crest.proxy'?", code=2),
]

PARQUET = [
    Case("no source", "prepare -S prepare.source=null",
         "prepare.source: parquet needs one: a folder of Parquet files, or "
         "hf://datasets/OWNER/NAME", code=2),
    Case("a folder that is not there", "prepare -S prepare.source=nowhere",
         "nowhere: no such folder; set prepare.source to the folder of the data"),
    Case("a folder whose name is too long", f"prepare -S prepare.source={'x' * 300}",
         "…: cannot be a folder …; set prepare.source to the folder of the data"),
    Case("a folder of nobody's home", "prepare -S prepare.source=~nobody-of-that-name/data",
         "~nobody-of-that-name/data: cannot be a folder …; set prepare.source to the folder "
         "of the data"),
    Case("a split that leads elsewhere", "prepare -S prepare.train_split=../train",
         "prepare.train_split: '../train' cannot be the name of a split's files", code=2),
    Case("a file for a folder", "prepare -S prepare.source=source/train.parquet",
         "source/train.parquet: is a file, not a folder; set prepare.source to the folder of"
         " the data"),
    Case("an address of another kind", "prepare -S prepare.source=https://example.com/data",
         "prepare.source: https://example.com/data: this data set cannot be read from there;"
         " name a folder", code=2),
    Case("a hub address cut short", "prepare -S prepare.source=hf://datasets/name",
         "prepare.source: hf://datasets/name: write it as hf://datasets/OWNER/NAME, with "
         "/FOLDER for one of several configurations", code=2),
    Case("no Parquet files", "prepare",
         "source: no train-*.parquet or train.parquet; Parquet files there: none; set "
         "prepare.train_split", both(gone(TRAIN), gone(TEST))),
    Case("no training split", "prepare",
         "source: no train-*.parquet or train.parquet; Parquet files there: test.parquet; "
         "set prepare.train_split", gone(TRAIN)),
    Case("no test split", "prepare",
         "source: no test-*.parquet or test.parquet; Parquet files there: train.parquet; set"
         " prepare.test_split", gone(TEST)),
    Case("one shard of two", "prepare",
         "source: not one whole set of 2 files, but train-00000-of-00002.parquet; download "
         "what is missing and remove what is left over",
         both(gone(TRAIN), columns(Path("source/train-00000-of-00002.parquet")))),
    Case("a truncated file", "prepare",
         "source/train.parquet: not a whole Parquet file …; get it again", cut(TRAIN)),
    Case("a file cut in its last byte", "prepare",
         "source/train.parquet: not a whole Parquet file …; get it again", cut(TRAIN, 0.9999)),
    Case("a file of 0 bytes", "prepare",
         "source/train.parquet: not a whole Parquet file …; get it again", cut(TRAIN, 0.0)),
    Case("a CSV file named .parquet", "prepare",
         "source/train.parquet: not a whole Parquet file …; get it again",
         content(TRAIN, b"image,label\n" * 9)),
    Case("zeros in the middle", "prepare",
         "source/train.parquet, column 'image', near row 0 …: not a whole Parquet file …; "
         "get it again", zeros(TRAIN, 20, 4000)),
    Case("no image column", "prepare",
         "source/train.parquet: no column 'image'; its columns: label; set "
         "prepare.image_column", columns(image=None)),
    Case("no label column", "prepare",
         "source/train.parquet: no column 'label'; its columns: image; set "
         "prepare.label_column", columns(label=None)),
    Case("another image column in test", "prepare",
         "source/test.parquet: no column 'image'; its columns: label, picture; set "
         "prepare.image_column", columns(TEST, image=None, picture=[png(0)] * 12)),
    Case("a column name of two lines", "prepare",
         "source/train.parquet: no column 'image'; its columns: label, \\x1b[31mimage\\n; set "
         "prepare.image_column", columns(image=None, **{"\x1b[31mimage\n": [png(0)] * ROWS})),
    Case("two columns of one name", "prepare",
         "source/train.parquet: column with name 'label' has more than one occurrence; "
         "rename or drop all but one", twice_named),
    Case("images that are numbers", "prepare",
         "source/train.parquet: column 'image' holds Int64, not images (binary, or a struct "
         "with a binary field 'bytes'); set prepare.image_column",
         columns(image=list(range(ROWS)))),
    Case("images that are paths", "prepare",
         "source/train.parquet: column 'image' holds String, not images (binary, or a struct"
         " with a binary field 'bytes'); set prepare.image_column",
         columns(image=["a.png"] * ROWS)),
    Case("images that are only named", "prepare",
         "source/train.parquet: column 'image' holds Struct({'path': String}), not images "
         "(binary, or a struct with a binary field 'bytes'); set prepare.image_column",
         columns(image=[{"path": "a.png"}] * ROWS)),
    Case("labels that are fractions", "prepare",
         "source/train.parquet, column 'label', row 0 …: the label is 0.0 (Float64); labels "
         "are integers or strings: convert the column, or set prepare.label_column",
         columns(label=[0.0, 1.0, 2.0] * 16)),
    Case("a label that is NaN", "prepare",
         "source/train.parquet, column 'label', row 5 …: the label is NaN; label the row or "
         "remove it", columns(label=row(5, float("nan")))),
    Case("labels that are lists", "prepare",
         "source/train.parquet, column 'label', row 0 …: the label is [0] (List(Int64)); "
         "labels are integers or strings: convert the column, or set prepare.label_column",
         columns(label=[[0], [1], [2]] * 16)),
    Case("labels that are true or false", "prepare",
         "source/train.parquet, column 'label', row 0 …: the label is True (Boolean); labels"
         " are integers or strings: convert the column, or set prepare.label_column",
         columns(label=[True, False] * 24)),
    Case("labels that are images", "prepare -S prepare.label_column=image",
         "source/train.parquet, column 'image', row 0 …: the label is … (Binary); labels are"
         " integers or strings: convert the column, or set prepare.label_column"),
    Case("a null label", "prepare",
         "source/train.parquet, column 'label', row 7 …: the label is null; label the row or"
         " remove it", columns(label=row(7, None))),
    Case("all labels null", "prepare",
         "source/train.parquet, column 'label', row 0 …: the label is null; label the row or"
         " remove it", columns(label=[None] * ROWS)),
    Case("a negative label", "prepare",
         "source/train.parquet, column 'label', row 7 …: the label is negative; number the "
         "classes from 0", columns(label=row(7, -1))),
    Case("a label beyond prepare.classes", "prepare -S prepare.classes=2",
         "source/train.parquet, column 'label', row 2 …: the label lies outside the classes "
         "0 to 1; correct it, or set prepare.classes"),
    Case("a gap in the labels", "prepare",
         "source/train.parquet, column 'label', row 2 …: train has 3 different labels, but "
         "not 0 to 2; renumber them without gaps", columns(label=[0, 1, 3] * 16)),
    Case("more classes than there are", "prepare -S prepare.classes=5",
         "source/train.parquet, column 'label', row 0 …: 2 of 5 classes have no training "
         "example: 3, 4; add some, or set prepare.classes"),
    Case("numbers in train, names in test", "prepare",
         "source/test.parquet, column 'label', row 0 …: labels are String, those of train "
         "Int64; use one type", columns(TEST, label=["ant"] * 12)),
    Case("one class only", "prepare",
         "source/train.parquet, column 'label', row 0 …: all labels are the same; add "
         "examples of a second class, or set prepare.label_column",
         both(columns(label=[0] * ROWS), columns(TEST, label=[0] * 12))),
    Case("a class only in test", "prepare",
         "source/test.parquet, column 'label', row 3 …: the label lies outside the classes 0"
         " to 2; correct it, or set prepare.classes", columns(TEST, label=row(3, 3))),
    Case("a class name only in test", "prepare",
         "source/test.parquet, column 'label', row 2 …: the label is none of the classes: "
         "ant, bee; correct it",
         both(columns(label=["ant", "bee"] * 24), columns(TEST, label=["ant", "bee", "cat"] * 4))),
    Case("a class with one example, held out", "prepare -S prepare.validation=0.5",
         "prepare.validation: 0.5 holds out every example of class 2, which has 1; lower it",
         columns(label=[0] * 24 + [1] * 23 + [2]), code=2),
    Case("a validation share that holds out nothing", "prepare -S prepare.validation=0.001",
         "prepare.validation: 0.001 of 16 examples a class is none; raise it, or set it to 0",
         code=2),
    Case("an empty training split", "prepare",
         "source/train.parquet: no rows; the split needs at least one; set "
         "prepare.train_split", empty(TRAIN)),
    Case("an empty test split", "prepare",
         "source/test.parquet: no rows; the split needs at least one; set prepare.test_split",
         empty(TEST)),
    Case("a null image", "prepare",
         f"{IMAGE_7}: there is no image (null); mend or remove the example",
         columns(image=row(7, None))),
    Case("an image of 0 bytes", "prepare",
         f"{IMAGE_7}: the image is empty (0 bytes); mend or remove the example",
         columns(image=row(7, b""))),
    Case("text for an image", "prepare",
         f"{IMAGE_7}: not an image in a known format …; mend or remove the example",
         columns(image=row(7, b"not an image"))),
    Case("a truncated PNG", "prepare",
         f"{IMAGE_7}: the image cannot be decoded …; mend or remove the example",
         columns(image=row(7, png(7)[:90]))),
    Case("a truncated JPEG", "prepare",
         f"{IMAGE_7}: the image cannot be decoded …; mend or remove the example",
         columns(image=row(7, png(7, form="JPEG")[:-200]))),
    Case("a PNG with damaged bytes", "prepare",
         f"{IMAGE_7}: the image cannot be decoded …; mend or remove the example",
         columns(image=row(7, png(7)[:60] + b"\0" * 40 + png(7)[100:]))),
    Case("a first image that is damaged", "prepare",
         "source/train.parquet, column 'image', row 0 …: not an image in a known format …; "
         "mend or remove the example", columns(image=row(0, b"GIF89a"))),
    Case("a PostScript file, which Pillow would run", "prepare",
         f"{IMAGE_7}: not an image in a known format …; mend or remove the example",
         columns(image=row(7, b"%!PS-Adobe-3.0 EPSF-3.0\n"))),
    Case("an image of 16 bits a channel", "prepare",
         f"{IMAGE_7}: the image cannot be decoded (mode I;16: more than 8 bits a channel; "
         "save it with 8); mend or remove the example", columns(image=row(7, deep_png()))),
    Case("an image that would fill the memory", "prepare",
         f"{IMAGE_7}: the image cannot be decoded …; mend or remove the example",
         columns(image=row(7, bomb()))),
    Case("images of two sizes", "prepare",
         f"{IMAGE_7}: 8×9 pixels of 3 channels, but source/train.parquet, column 'image', row"
         " 0 …: 8×8 pixels of 3 channels; set prepare.image_size to make them one size",
         columns(image=row(7, png(7, (9, 8))))),
    Case("a test image of another size", "prepare",
         "source/test.parquet, column 'image', row 3 …: 8×9 pixels of 3 channels, but "
         "source/train.parquet, column 'image', row 0 …: 8×8 pixels of 3 channels; set "
         "prepare.image_size to make them one size", columns(TEST, image=row(3, png(3, (9, 8))))),
]

FOLDERS = [
    Case("no training folder", FOLDER,
         "images: no folder 'train'; folders there: test; set prepare.train_split",
         gone("images/train")),
    Case("no test folder", FOLDER,
         "images: no folder 'test'; folders there: train; set prepare.test_split",
         gone("images/test")),
    Case("no classes in a split", FOLDER,
         "images/test: no folders in it; it needs one for each class",
         both(gone("images/test/ant"), gone("images/test/bee"))),
    Case("a class without images", FOLDER,
         "images/train/bee: no images …; add some or remove the folder",
         both(gone("images/train/bee"), content("images/train/bee/notes.txt", b"?"))),
    Case("one class only", FOLDER,
         "images/train/ant/0.png: all labels are the same; add examples of a second class, "
         "or set prepare.label_column", both(gone("images/train/bee"), gone("images/test/bee"))),
    Case("a class only in test", FOLDER,
         "images/test/cow/0.png: the label is none of the classes: ant, bee; correct it",
         content("images/test/cow/0.png", png(0))),
    Case("a split that leads elsewhere", f"{FOLDER} -S prepare.train_split=../source",
         "images: no folder '../source'; folders there: test, train; set prepare.train_split"),
    Case("a text file named .png", FOLDER,
         "images/train/bee/3.png: not an image in a known format …; mend or remove the "
         "example", content("images/train/bee/3.png", b"a bee\n")),
    Case("an image file of 0 bytes", FOLDER,
         "images/train/ant/0.png: the image is empty (0 bytes); mend or remove the example",
         content("images/train/ant/0.png", b"")),
    Case("an image file cut short", FOLDER,
         "images/train/bee/3.png: the image cannot be decoded …; mend or remove the example",
         cut("images/train/bee/3.png")),
    Case("an image of another size", FOLDER,
         "images/test/bee/3.png: 4×4 pixels of 3 channels, but images/train/ant/0.png: 8×8 "
         "pixels of 3 channels; set prepare.image_size to make them one size",
         content("images/test/bee/3.png", png(0, (4, 4)))),
    Case("a folder named like an image", FOLDER,
         "images/train/bee/3.png: cannot be read: Is a directory; mend or remove it",
         as_folder("images/train/bee/3.png")),
    Case("columns for an image folder", f"{FOLDER} -S prepare.label_column=label",
         "prepare.label_column: image folders have no columns; leave it null", code=2),
]

PREPARED_DATA = [
    Case("nothing prepared", "train",
         "data/prepared/meta.json: no prepared data here; run `python cli.py prepare` first",
         gone(PREPARED)),
    Case("no meta.json", "train",
         "data/prepared/meta.json: no prepared data here; run `python cli.py prepare` first",
         gone(PREPARED / "meta.json")),
    Case("meta.json cut short", "train",
         f"data/prepared/meta.json: damaged …; {PREPARE_AGAIN}", cut(PREPARED / "meta.json")),
    Case("meta.json that is a list", "train",
         f"data/prepared/meta.json: damaged (it holds no JSON object); {PREPARE_AGAIN}",
         content(PREPARED / "meta.json", b"[]")),
    Case("meta.json of a newer schema", "train",
         f"data/prepared/meta.json: schema version 2, this code reads 1; {PREPARE_AGAIN}",
         meta(schema_version=2)),
    Case("meta.json without classes", "train",
         f"data/prepared/meta.json: damaged (lacking or not known: classes); {PREPARE_AGAIN}",
         meta(classes=None)),
    Case("meta.json with classes that are no list", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(classes=3)),
    Case("meta.json with means that are text", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(mean=["a", "b", "c"])),
    Case("meta.json with a deviation of 0", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(std=[0.0, 0.0, 0.0])),
    Case("meta.json with sizes that are no numbers", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(sizes={"train": "many", "test": 12})),
    Case("meta.json with more examples than there are", "train",
         "data/prepared/train_images.npy: damaged (torch.uint8 [42, 8, 8, 3], meta.json says"
         f" [99, 8, 8, 3] of uint8); {PREPARE_AGAIN}", meta(sizes={"train": 99, "test": 12})),
    Case("no training images", "train",
         f"data/prepared/train_images.npy: no such file; {PREPARE_AGAIN}",
         gone(PREPARED / "train_images.npy")),
    Case("training images cut short", "train",
         f"data/prepared/train_images.npy: damaged …; {PREPARE_AGAIN}",
         cut(PREPARED / "train_images.npy")),
    Case("labels cut short", "evaluate",
         f"data/prepared/test_labels.npy: damaged …; {PREPARE_AGAIN}",
         cut(PREPARED / "test_labels.npy")),
    Case("images that are no array", "train",
         f"data/prepared/train_images.npy: damaged …; {PREPARE_AGAIN}",
         content(PREPARED / "train_images.npy", b"pixels" * 99)),
    Case("an array of Python objects", "train",
         f"data/prepared/train_labels.npy: damaged …; {PREPARE_AGAIN}",
         array("train_labels", lambda labels: labels.astype(object))),
    Case("images of another shape", "train",
         "data/prepared/train_images.npy: damaged (torch.uint8 [42, 4, 8, 3], meta.json says"
         f" [42, 8, 8, 3] of uint8); {PREPARE_AGAIN}",
         array("train_images", lambda images: images[:, :4])),
    Case("images of another type", "train",
         "data/prepared/train_images.npy: damaged (torch.float64 [42, 8, 8, 3], meta.json "
         f"says [42, 8, 8, 3] of uint8); {PREPARE_AGAIN}",
         array("train_images", lambda images: images / 255.0)),
    Case("labels outside the classes", "train",
         "data/prepared/train_labels.npy: damaged (labels outside 3 classes); "
         f"{PREPARE_AGAIN}", array("train_labels", lambda labels: labels + 1)),
    Case("no validation labels", "train",
         f"data/prepared/validation_labels.npy: no such file; {PREPARE_AGAIN}",
         gone(PREPARED / "validation_labels.npy")),
]

CHECKPOINTS = [
    Case("no model", "evaluate",
         f"{RUN}/model.safetensors: no such file; train writes it as model.safetensors: "
         f"{TRAIN_AGAIN}", gone(MODEL)),
    Case("a checkpoint that is not there", "select --checkpoint none.safetensors --json",
         "none.safetensors: no such file; train writes it as model.safetensors: "
         f"{TRAIN_AGAIN}"),
    Case("a folder for a checkpoint", f"select --checkpoint {RUN} --json",
         f"{RUN}: is a folder; name the model.safetensors in it"),
    Case("a model cut short", "evaluate",
         f"{RUN}/model.safetensors: not a safetensors file, or cut short or damaged …; "
         f"{TRAIN_AGAIN}", cut(MODEL)),
    Case("a model of 0 bytes", "evaluate",
         f"{RUN}/model.safetensors: not a safetensors file, or cut short or damaged …; "
         f"{TRAIN_AGAIN}", cut(MODEL, 0.0)),
    Case("a pickled model", SELECT,
         f"{RUN}/model.safetensors: not a safetensors file, or cut short or damaged …; "
         f"{TRAIN_AGAIN}", content(MODEL, b"\x80\x04\x95" + b"torch" * 99)),
    Case("a model of other classes", "evaluate",
         f"{RUN}/model.safetensors: a model of 5 classes and images [8, 8, 3]; the prepared "
         "data have 3 classes and images [8, 8, 3]; use a model trained on them",
         checkpoint(classes=5)),
    Case("a model for images of another size", "evaluate",
         f"{RUN}/model.safetensors: a model of 3 classes and images [16, 16, 3]; the prepared"
         " data have 3 classes and images [8, 8, 3]; use a model trained on them",
         checkpoint(side=16)),
    Case("a model that says it is another", SELECT,
         f"{RUN}/model.safetensors: holds another model than this ResNet20: conv.weight is "
         "not in the file; norm.weight is not in the file; norm.bias is not in the file and "
         f"129 more; {TRAIN_AGAIN}", checkpoint_saying(model="resnet20")),
    Case("a model that nobody knows", SELECT,
         f"{RUN}/model.safetensors: holds a model that cannot be built: train.model: unknown "
         "model 'bignet'. Known: …", checkpoint_saying(model="bignet")),
    Case("a model that lacks a tensor", SELECT,
         f"{RUN}/model.safetensors: holds another model than this ConvNet: norms.2.weight is "
         f"not in the file; {TRAIN_AGAIN}", checkpoint_holding(lambda tensors: tensors.popitem())),
    Case("a model of a newer format", "evaluate",
         f"{RUN}/model.safetensors: written in version 2 of this format; this program reads "
         f"version 1; {TRAIN_AGAIN}", checkpoint_saying(schema_version="2")),
    Case("a description that makes no sense", "evaluate",
         f"{RUN}/model.safetensors: damaged: its description of the model makes no sense; "
         f"{TRAIN_AGAIN}", checkpoint_saying(classes="three")),
    Case("tensors that do not say whose they are", SELECT,
         f"{RUN}/model.safetensors: holds another model than this ConvNet: "
         "convolutions.0.weight is not in the file; convolutions.1.weight is not in the "
         f"file; convolutions.2.weight is not in the file and 17 more; {TRAIN_AGAIN}",
         checkpoint_holding(lambda tensors: tensors.clear())),
    Case("a name that is too long", f"select --checkpoint {'x' * 300} --json",
         f"…: no such file; train writes it as model.safetensors: {TRAIN_AGAIN}"),
    Case("weights that are NaN", SELECT,
         f"{RUN}/model.safetensors: linear.weight is not all finite numbers; "
         f"{TRAIN_AGAIN}",
         checkpoint_holding(lambda tensors: tensors["linear.weight"].fill_(torch.nan))),
    Case("metrics cut short", "evaluate",
         f"{RUN}/metrics.json: damaged JSON …; make it again",
         content(RUN / "metrics.json", b'{"method": "crest",')),
    Case("metrics without a figure", "evaluate",
         f"{RUN}/metrics.json: lacks 'method'; train again", content(RUN / "metrics.json", b"{}")),
]

REUSE = "reuse --model convnet"
SAVED_CORESETS = [
    Case("no run", f"{REUSE} --coresets artifacts/train/full",
         "artifacts/train/full: no such file; it is written by training with …"),
    Case("a run that selects nothing", REUSE,
         f"{RUN}/coresets.parquet: no such file; it is written by training with …", gone(CORESETS)),
    Case("an index out of range", REUSE,
         f"{RUN}/coresets.parquet: row 0: index 1000 is outside the 42 training examples; "
         "were these coresets chosen from other data?",
         table("coresets", first_row("index", 1000))),
    Case("an index out of range, exporting", "export --out c.csv",
         f"{RUN}/coresets.parquet: row 0: index 1000 is outside the 42 training examples; "
         "were these coresets chosen from other data?",
         table("coresets", first_row("index", 1000))),
    Case("a negative index", REUSE,
         f"{RUN}/coresets.parquet: row 0: index -1 is outside the 42 training examples; were "
         "these coresets chosen from other data?", table("coresets", first_row("index", -1))),
    Case("a negative weight", REUSE,
         f"{RUN}/coresets.parquet: row 0: weight -0.5 is not a number from 0 up; "
         f"{SELECT_AGAIN}", table("coresets", first_row("weight", -0.5))),
    Case("a weight that is NaN", REUSE,
         f"{RUN}/coresets.parquet: row 0: weight nan is not a number from 0 up; "
         f"{SELECT_AGAIN}", table("coresets", first_row("weight", float("nan")))),
    Case("an infinite weight", "train --method replay",
         f"{RUN}/coresets.parquet: row 0: weight inf is not a number from 0 up; "
         f"{SELECT_AGAIN}", table("coresets", first_row("weight", float("inf")))),
    Case("weights that are all 0", REUSE,
         f"{RUN}/coresets.parquet: row 0: every weight of its mini-batch is 0; {SELECT_AGAIN}",
         table("coresets", pl.col("weight") * 0)),
    Case("a null", REUSE,
         f"{RUN}/coresets.parquet: row 0 has a null; {SELECT_AGAIN}",
         table("coresets", first_row("index", None))),
    Case("other data", REUSE,
         f"{RUN}/coresets.parquet: row 0: example 11 has label 2, prepared data has 1; these "
         "coresets were chosen from other data", table("coresets", (pl.col("label") + 1) % 3)),
    Case("no rows", REUSE,
         f"{RUN}/coresets.parquet: holds no mini-batch; {SELECT_AGAIN}",
         table("coresets", where=pl.lit(False))),
    Case("a missing region", REUSE,
         f"{RUN}/coresets.parquet: region 1 is missing; {SELECT_AGAIN}",
         table("coresets", where=pl.col("region") != 1)),
    Case("a missing mini-batch", REUSE,
         f"{RUN}/coresets.parquet: mini-batch 0 of region 0 is missing; {SELECT_AGAIN}",
         table("coresets", where=pl.col("minibatch") != 0)),
    Case("a step on a mini-batch that is not there", REUSE,
         f"{RUN}/coresets.parquet: step 0 was trained on mini-batch 51 of region 0, which is "
         f"not in the coresets; {SELECT_AGAIN}", table("steps", pl.col("minibatch") + 50)),
    Case("a newer schema", REUSE,
         f"{RUN}/coresets.parquet: schema version 2, this code reads version 1; make it "
         "again, or use the code that wrote it", table("coresets", schema=2)),
    Case("another table", f"{REUSE} --coresets {RUN}/steps.parquet",
         f"{RUN}/steps.parquet: holds a 'steps' table where a 'coresets' table is needed; "
         "name another file"),
    Case("a name that is too long", f"{REUSE} --coresets {'x' * 300}", "…: File name too long"),
    Case("somebody else's Parquet file", f"{REUSE} --coresets {TRAIN}",
         "source/train.parquet: not written by this project (no schema version inside); name"
         " a file that was"),
    Case("a missing column", REUSE,
         f"{RUN}/coresets.parquet: column 'weight' is missing; it has ['region', 'minibatch',"
         " 'position', 'index', 'label', 'loss']; make it again", without("coresets", "weight")),
    Case("a column of another type", REUSE,
         f"{RUN}/coresets.parquet: column 'index' is String, it must be Int64; make it again",
         table("coresets", pl.col("index").cast(pl.String))),
    Case("a file cut short", REUSE,
         f"{RUN}/coresets.parquet: not a whole Parquet file …; make it again", cut(CORESETS)),
    Case("zeros in the middle", REUSE,
         f"{RUN}/coresets.parquet: not a whole Parquet file …; make it again",
         zeros(CORESETS, 4, 400)),
    Case("steps cut short", REUSE,
         f"{RUN}/steps.parquet: not a whole Parquet file …; make it again",
         cut(RUN / "steps.parquet")),
    Case("analysed with an index out of range", "analyze",
         f"{RUN}/coresets.parquet: index 1000 is not one of 42 examples; make it again with "
         "`python cli.py train --method crest`", table("coresets", first_row("index", 1000))),
    Case("analysed without its regions", "analyze",
         f"{RUN}/regions.parquet: no such file; it is written by the stage before this one",
         gone(RUN / "regions.parquet")),
    Case("reported without an evaluation", "report",
         "artifacts/evaluate/crest: not there; make it with `python cli.py evaluate --method"
         " crest`, or take it out of train.methods", gone("artifacts/evaluate/crest")),
    Case("reported without an analysis", "report",
         "artifacts/analyze: not there; make it with `python cli.py analyze`",
         gone("artifacts/analyze")),
    Case("reported from metrics that are text", "report",
         "artifacts/evaluate/crest/metrics.json: 'accuracy' must be a number, it is 'high'; "
         "make it again",
         content("artifacts/evaluate/crest/metrics.json", b'{"accuracy": "high"}')),
    Case("shown before it was made", "report --show",
         "artifacts/report/summary.csv: no such file; make it with `python cli.py report`",
         gone("artifacts/report")),
]

UNFINISHED_RUNS = [
    Case("a state cut short", "train --method random",
         ".resume/train-random.safetensors: the saved state of an unfinished run is damaged "
         f"…; {AFRESH}", unfinished(cut(STATE))),
    Case("a state of 0 bytes", "train --method random",
         ".resume/train-random.safetensors: the saved state of an unfinished run is damaged "
         f"…; {AFRESH}", unfinished(cut(STATE, 0.0))),
    Case("a state that is none", "train --method random",
         ".resume/train-random.safetensors: the saved state of an unfinished run is damaged "
         f"…; {AFRESH}", unfinished(content(STATE, b"\x80\x04state" * 50))),
    Case("other parameters", "train --method random -S train.lr=0.2",
         ".resume/train-random.safetensors: the saved state is of an unfinished run with "
         f"other train.lr; set back what changed to finish it, or {AFRESH}", unfinished()),
    Case("other data", "train --method random",
         ".resume/train-random.safetensors: the saved state is of an unfinished run with "
         f"other data; set back what changed to finish it, or {AFRESH}",
         unfinished(meta(content_hash="other"))),
    Case("a state of another program", "train --method random",
         ".resume/train-random.safetensors: the saved state of an unfinished run is damaged "
         f"('key'); {AFRESH}", unfinished(lambda: shutil.copy(MODEL, STATE))),
]

SURROUNDINGS = [
    Case("no space for images", "prepare",
         "data/prepared: cannot be written: File too large; raise the limit on the size of a"
         " file", surroundings=no_space),
    Case("no space for labels", "prepare",
         "data/prepared: cannot be written: File too large; raise the limit on the size of a"
         " file", surroundings=lambda: no_space(200)),
    Case("no space for a model", "train",
         f"{RUN}/model.safetensors: cannot be written: File too large; raise the limit on the"
         " size of a file", surroundings=no_space),
    Case("no space for a state", "train --method random -S train.save_interval=0",
         ".resume/train-random.safetensors: cannot be written: File too large; raise the "
         "limit on the size of a file", surroundings=no_space),
    Case("no space for predictions", "evaluate",
         "artifacts/evaluate/crest/predictions.parquet: cannot be written: File too large; "
         "raise the limit on the size of a file", surroundings=lambda: no_space(500)),
    Case("no space for coresets", f"select --checkpoint {MODEL} --out c.parquet",
         "c.parquet: cannot be written: File too large; raise the limit on the size of a "
         "file", surroundings=lambda: no_space(500)),
    Case("no space for an export", "export --out subset",
         "subset: cannot be written: File too large; raise the limit on the size of a file",
         surroundings=lambda: no_space(500)),
    Case("no space for an export as CSV", "export --out c.csv",
         "c.csv: cannot be written: File too large; raise the limit on the size of a file",
         surroundings=lambda: no_space(500)),
    Case("no space for an analysis", "analyze",
         "artifacts/analyze: cannot be written: File too large; raise the limit on the size "
         "of a file", surroundings=lambda: no_space(10_000)),
    Case("no space for a report", "report",
         "artifacts/report: cannot be written: File too large; raise the limit on the size "
         "of a file", surroundings=no_space),
    Case("no space for parameters", "preset digits",
         "params.yaml: cannot be written: File too large; raise the limit on the size of a "
         "file", surroundings=lambda: no_space(50)),
    Case("a read-only disk, preparing", "prepare",
         "data/prepared: cannot be written: Read-only file system; work on a disk that can "
         "be written", surroundings=read_only),
    Case("a read-only disk, training", "train",
         f"{RUN}: cannot be written: Read-only file system; work on a disk that can be "
         "written", surroundings=read_only),
    Case("a read-only disk, evaluating", "evaluate",
         "artifacts/evaluate/crest: cannot be written: Read-only file system; work on a disk"
         " that can be written", surroundings=read_only),
    Case("a file where data/ is to be", "prepare",
         "data/prepared: cannot be written: File exists; move away the file that is where a "
         "folder is to be", as_file("data")),
    Case("a file where data/prepared is to be", "prepare",
         "data/prepared: a file where a folder is to be; move it away", as_file(PREPARED)),
    Case("a file where the run is to be", "train",
         f"{RUN}: a file where a folder is to be; move it away", as_file(RUN)),
    Case("a file where .resume/ is to be", "train --method random",
         ".resume: a file where a folder is to be; move it away", content(".resume", b"")),
    Case("a folder where coresets are to be", f"select --checkpoint {MODEL} --out artifacts",
         "artifacts: cannot be written: Is a directory; move away the folder in its place, "
         "or name another file"),
    Case("a folder where a CSV is to be", "export --out c.csv",
         "c.csv: cannot be written: Is a directory; move away the folder in its place, or name "
         "another file", content("c.csv/x", b"")),
    Case("CUDA where there is none", "train -S train.device=cuda",
         "train.device: 'cuda' asked for, but PyTorch finds no CUDA device here; use 'auto' "
         "or 'cpu'", code=2, surroundings=no_cuda),
    Case("the third GPU where there is none", "evaluate -S train.device=cuda:2",
         "train.device: 'cuda:2' asked for, but PyTorch finds no CUDA device here; use "
         "'auto' or 'cpu'", code=2, surroundings=no_cuda),
    Case("a loss that is no number", "train --method random -S train.lr=1e30",
         "the training loss became nan at step 1; lower train.lr or set train.precision to "
         "float32, and start with --fresh: the state before that is kept until then"),
]

TEXT = [
    Case("no tokenizer named", TEXTS + " -S prepare.tokenizer=null",
         "prepare.tokenizer: text needs one: the name or folder of a model of transformers, "
         "usually that of train.model", code=2),
    Case("a tokenizer that is not there", TEXTS + " -S prepare.tokenizer=nowhere/at-all",
         "prepare.tokenizer: no tokenizer of nowhere/at-all can be loaded (…); name a model of the "
         "Hugging Face hub, or a folder with its tokenizer.json (where HF_HUB_OFFLINE is set, one "
         "that is in the cache)", code=2),
    Case("a tokenizer for images", "prepare -S prepare.tokenizer=tokenizer",
         "prepare.tokenizer: parquet is image data; leave it null", code=2),
    Case("an image size for text", TEXTS + " -S prepare.image_size=8",
         "prepare.image_size: text is text data; leave it null", code=2),
    Case("three text columns", TEXTS + " -S 'prepare.text_columns=[a, b, c]'",
         "params.yaml with -S: prepare.text_columns: … at most 2 items …", code=2),
    Case("a greatest length that holds no text", TEXTS + " -S prepare.max_length=2",
         "params.yaml with -S: prepare.max_length: must be greater than or equal to 4, got 2",
         code=2),
    Case("a text column that is not there", TEXTS + " -S 'prepare.text_columns=[body]'",
         "texts/train.csv: no column 'body'; its columns: text, label; set prepare.text_columns"),
    Case("a label column that is not there", TEXTS + " -S prepare.label_column=class",
         "texts/train.csv: no column 'class'; its columns: text, label; set prepare.label_column"),
    Case("no test file", TEXTS,
         "texts: no test-*.parquet or test.parquet or test.csv or test.jsonl or test.ndjson; files "
         "of these formats there: train.csv; set prepare.test_split", gone("texts/test.csv")),
    Case("a split in two formats", TEXTS,
         "texts: train in several formats (texts/train.csv, texts/train.jsonl); keep one",
         content("texts/train.jsonl", b'{"text": "a", "label": 0}')),
    Case("a cell without text", TEXTS,
         "texts/train.csv, column 'text', row 2 (counted from 0): there is no text; write one or "
         "remove the row", content("texts/train.csv", CSV.replace(b"no,", b","))),
    Case("a cell without a label", TEXTS,
         "texts/train.csv, column 'label', row 1 (counted from 0): the label is null; label the "
         "row or remove it", content("texts/train.csv", CSV.replace(b"dog,1", b"dog,"))),
    Case("words among the labels of train only", TEXTS,
         "texts/test.csv, column 'label', row 0 (counted from 0): labels are Int64, those of train "
         "String; use one type", content("texts/train.csv", CSV.replace(b"dog,1", b"dog,one"))),
    Case("a line that is no JSON", TEXTS, "texts/train.jsonl: cannot be read (…); correct the file",
         both(gone("texts/train.csv"), content("texts/train.jsonl", b'{"text": "a"\n{'))),
    Case("numbers for texts", TEXTS,
         "texts/train.jsonl: column 'text' holds Int64, not texts; set prepare.text_columns",
         both(gone("texts/train.csv"), content("texts/train.jsonl", b'{"text": 1, "label": 0}\n'))),
    Case("a row with too many cells", TEXTS,
         "texts/train.csv: cannot be read (…); correct the file (in CSV, texts that hold commas "
         "need quotes)", content("texts/train.csv", CSV + b"one, two,0,1,2\n")),
]

# fmt: on

CASES = {
    "Parameters": PARAMETERS,
    "Parquet files": PARQUET,
    "Image folders": FOLDERS,
    "Text": TEXT,
    "Prepared data": PREPARED_DATA,
    "Checkpoints": CHECKPOINTS,
    "Coresets and runs": SAVED_CORESETS,
    "The state of an unfinished run": UNFINISHED_RUNS,
    "The machine": SURROUNDINGS,
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and the files of the project before and after it."""

    result: Result
    before: dict[str, str]
    after: dict[str, str]

    @property
    def message(self) -> str:
        """What the command said, without 'error: '."""
        return self.result.stderr.strip().removeprefix("error: ")


def meet(case: Case, project: Path, folder: Path) -> Outcome:
    """Run a case in a copy of a whole project."""
    shutil.copytree(project, folder, dirs_exist_ok=True)
    with chdir(folder):
        case.damage()
        before = digests()
        with case.surroundings():
            result = invoke(case.command)
        return Outcome(result, before, digests())


def digests() -> dict[str, str]:
    """Return a digest of every file of the working folder, by its path."""
    return {
        path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path().rglob("*"))
        if path.is_file()
    }


def table_of(group: str, outcomes: list[tuple[Case, Outcome]]) -> str:
    """Return the cases of a group and what they were told as a table in Markdown."""
    head = [f"## {group}", "", "| what is wrong | command | exit | message |", "|---|---|---|---|"]
    rows = [
        f"| {case.name} | `{_cell(case.command)}` | {outcome.result.exit_code} "
        f"| {_cell(outcome.message)} |"
        for case, outcome in outcomes
    ]
    return "\n".join([*head, *rows, ""])


def _cell(text: str) -> str:
    """Make a text fit into a cell of a table."""
    shorter = re.sub("x{50,}", "xxx…", text)
    return shorter.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


INTRODUCTION = """\
# What goes wrong, and what you are told

Every row is a test: the project is broken in that way, the command ends with that exit code and
that message on stderr, without a traceback, and no file is changed, half written or left over.
Exit code 2 means that the command or a parameter is wrong, 1 that data or files are.

This page is made by `python -m tests.bad_input > docs/errors.md`.
"""


def main() -> None:
    """Print the tables of all cases with the messages that they get."""
    print(INTRODUCTION)
    with tempfile.TemporaryDirectory() as top:
        project = Path(top, "project")
        project.mkdir()
        make_project(project)
        for group, cases in CASES.items():
            outcomes = []
            for case in cases:
                outcomes.append((case, meet(case, project, folder := Path(top, "copy"))))
                shutil.rmtree(folder)
            print(table_of(group, outcomes))


if __name__ == "__main__":
    main()
