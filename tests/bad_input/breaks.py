"""Ways to break a project."""

import errno
import io
import json
import os
import resource
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch
from PIL import Image

from crest import artifacts
from crest.artifacts import seals
from crest.data.files import checksum_of, read_meta, write_meta
from crest.data.verifying import with_hashes
from crest.models import ModelSpec, build, weights
from tests.bad_input.case import Break, nothing
from tests.bad_input.project import (
    MODEL,
    PREPARED,
    ROWS,
    RUN,
    STATE,
    TRAIN,
    UNFINISHED,
    examples,
    png,
)


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


def cut_lines(path: Path) -> Break:
    """Leave out the last line of a text."""

    def damage() -> None:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

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


def moved(old: Path | str, new: Path | str) -> Break:
    """Give a file or a folder another name."""

    def damage() -> None:
        Path(old).rename(new)

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


def first_rows(path: Path, count: int) -> Break:
    """Keep the first rows of a split only."""
    return lambda: pl.read_parquet(path).head(count).write_parquet(path)


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
        kept.pop("checksum")
        kept["checksum"] = checksum_of(kept)
        (PREPARED / "meta.json").write_text(json.dumps(kept))

    return damage


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Break:
    """Change a prepared array."""

    def damage() -> None:
        path = PREPARED / f"{name}.npy"
        np.save(path, change(np.load(path)))

    return damage


def other_data() -> None:
    """Prepare other images."""
    array("train_images", lambda images: images ^ 1)()
    write_meta(PREPARED, with_hashes(PREPARED, read_meta(PREPARED)))


def other_code() -> None:
    """Make the state one that was saved while the training loop was written otherwise."""
    import safetensors
    import safetensors.torch

    from crest.artifacts.tensors import write_tensors

    with safetensors.safe_open(STATE, framework="pt") as file:
        metadata = dict(file.metadata())
    key = json.loads(metadata["key"])
    code = {**json.loads(key["code"]), "crest/training/loop.py": "another"}
    metadata["key"] = json.dumps({**key, "code": json.dumps(code)})
    write_tensors(STATE, safetensors.torch.load_file(STATE), metadata)


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
            metadata = file.metadata() | {seals.KEY: ""} | changes
        tensors = safetensors.torch.load_file(MODEL)
        safetensors.torch.save_file(tensors, MODEL, metadata)

    return damage


def checkpoint_holding(change: Callable[[dict[str, torch.Tensor]], object]) -> Break:
    """Change the tensors of a checkpoint in place."""

    def damage() -> None:
        import safetensors
        import safetensors.torch

        with safetensors.safe_open(MODEL, framework="pt") as file:
            metadata = file.metadata() | {seals.KEY: ""}
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


def two_cores() -> AbstractContextManager[object]:
    """A machine of two cores."""
    return patch("os.sched_getaffinity", return_value={0, 1})


def little_memory() -> AbstractContextManager[object]:
    """A machine of half a gigabyte."""
    return patch("crest.devices.limits.memory", return_value=5 * 10**8)
