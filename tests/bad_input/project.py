"""A small whole project, of which each case breaks a copy."""

import io
from contextlib import chdir, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
from PIL import Image

from crest import artifacts
from tests.bad_input.case import invoke
from tests.tiny_text import tiny_tokenizer

PARAMS = """\
prepare: {dataset: parquet, source: source, workers: 1}
run: {methods: [crest]}
train:
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
SELECT = f"select --checkpoint {MODEL} --json"
FOLDER = "prepare -S prepare.dataset=folder -S prepare.source=images"
LISTED = "prepare -S prepare.dataset=listed -S prepare.source=list.csv -S prepare.validation=0"
LIST = "image,label\n" + "".join(
    f"images/train/{name}/{place}.png,{name}\n" for place in range(5) for name in ("ant", "bee")
)
CSV = b"text,label\na cat,0\na dog,1\nno,0\na ball,1\n"


def png(seed: int, size: tuple[int, int] = (8, 8), form: str = "PNG") -> bytes:
    """Return random colours as a compressed image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def examples(count: int) -> dict[str, list[Any]]:
    """Return the columns of a split: images of three classes."""
    return {"image": [png(row) for row in range(count)], "label": [row % 3 for row in range(count)]}


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
        Path("list.csv").write_text(LIST)
        tiny_tokenizer(Path("tokenizer"))
        for split in ("train", "test"):
            Path("texts").mkdir(exist_ok=True)
            Path("texts", f"{split}.csv").write_bytes(CSV)
        for command in ("prepare", "train", "evaluate", "analyze", "report"):
            done = invoke(command)
            assert done.exit_code == 0, done.output
        with patch("crest.pipeline.signals.noted", lambda **_: nullcontext(lambda: 15)):
            assert invoke("train --method random").exit_code == 143
        STATE.rename(UNFINISHED)
        STATE.parent.rmdir()
