"""Whatever parameters and tables hold, they are taken whole or refused with a message."""

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML

from crest.config import load, parse
from crest.data.prepared import load as load_prepared
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters
from stages import prepare
from tests.tiny import CPU

few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# ------------------------------------------------------------------------------------- parameters

TEXT = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)
SHARES = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)
SHARES_OR_COUNTS = SHARES | st.integers(1, 10**9)
COUNTS = st.integers(1, 2**31 - 1)
SEEDS = st.integers(0, 2**63 - 1)


def section(**keys):
    return st.fixed_dictionaries({}, optional=keys)


VALID = section(
    prepare=section(
        dataset=TEXT,
        source=st.none() | TEXT,
        classes=st.none() | st.integers(2, 1000),
        validation=st.just(0) | SHARES,
        seed=SEEDS,
    ),
    train=section(
        model=TEXT,
        stem=st.sampled_from(["cifar", "imagenet"]),
        epochs=st.floats(1e-9, 1e6) | st.integers(1, 10**6),
        budget=SHARES | st.just(1),
        batch_size=COUNTS,
        lr=st.floats(1e-30, 1e30),
        nesterov=st.booleans(),
        seed=SEEDS,
        device=st.sampled_from(["auto", "cpu", "cuda", "cuda:1"]),
        threads=st.none() | st.integers(1, 1024),
    ),
    crest=section(
        subset_size=SHARES_OR_COUNTS, learned=section(floor=SHARES_OR_COUNTS), proxy=TEXT
    ),
    run=section(methods=st.lists(NAMES, min_size=1, max_size=3, unique=True)),
    reuse=section(coresets=TEXT, models=st.lists(NAMES, max_size=3, unique=True)),
    report=section(title=TEXT),
)


@given(values=VALID)
@example(values={"prepare": {"dataset": ":0"}})
@few
def test_valid_parameters_survive_a_file(values, tmp_path) -> None:
    parameters = parse(values, "here")
    path = tmp_path / "params.yaml"
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False  # {dataset: :0}, its default, it cannot read itself
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(parameters.model_dump(mode="json"), file)
    assert load(path) == parameters


# ------------------------------------------------------------------------------------------ tables


def png(seed: int, side: int = 4) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


GOOD = [png(seed) for seed in range(4)]
IMAGES = {
    "good": st.sampled_from(GOOD),
    "bytes": st.sampled_from([*GOOD, None, b"", b"GIF89a", GOOD[0][:40], png(9, side=5)]),
    "noise": st.binary(max_size=60),
    "struct": st.builds(
        lambda image: {"bytes": image, "path": None}, st.sampled_from([*GOOD, None])
    ),
    "text": st.text(max_size=3),
    "numbers": st.integers(0, 255),
    "lists": st.lists(st.integers(0, 255), max_size=3),
}
LABELS = {
    "classes": st.integers(0, 1),
    "numbers": st.none() | st.integers(-2, 4),
    "far": st.integers(-(2**63), 2**63 - 1),
    "floats": st.floats(width=32) | st.sampled_from([0.0, 1.0]),
    "names": st.sampled_from(["ant", "bee"]),
    "text": st.none() | st.text(max_size=2),
    "booleans": st.booleans(),
    "bytes": st.binary(max_size=3),
    "lists": st.lists(st.integers(0, 1), max_size=2),
    "nulls": st.none(),
}


@st.composite
def splits(draw):
    """A table of images and labels, each column of one kind; now and then one is missing."""
    rows = draw(st.integers(0, 12))
    columns = {
        name: draw(
            st.lists(kinds[draw(st.sampled_from(list(kinds)))], min_size=rows, max_size=rows)
        )
        for name, kinds in (("image", IMAGES), ("label", LABELS))
        if draw(st.integers(0, 9))
    }
    return pl.DataFrame(columns, strict=False)


GOOD_SPLIT = pl.DataFrame({"image": GOOD * 3, "label": [0, 1] * 6})


def prepares_or_refuses(train: bytes, test: bytes, **params) -> bool:
    """Prepare two Parquet files; whether they were taken."""
    top = Path(tempfile.mkdtemp())
    try:
        (top / "train.parquet").write_bytes(train)
        (top / "test.parquet").write_bytes(test)
        prepared = top / "prepared"
        settings = PrepareParameters(dataset="parquet", source=str(top), workers=1, **params)
        try:
            meta = prepare.run(settings, prepared)
        except (DataError, ParameterError) as error:
            message = str(error)
        else:
            assert len(load_prepared(prepared, CPU).train) == meta.sizes["train"]
            return True
        assert len(message.splitlines()) == 1
        assert sorted(path.name for path in top.iterdir()) == ["test.parquet", "train.parquet"]
        return False
    finally:
        shutil.rmtree(top)


def parquet(frame: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.write_parquet(stream)
    return stream.getvalue()


@given(train=splits() | st.just(GOOD_SPLIT), test=splits() | st.just(GOOD_SPLIT))
@few
def test_any_table_is_prepared_or_refused(train, test) -> None:
    prepares_or_refuses(parquet(train), parquet(test), validation=0.0)


def test_a_good_table_is_prepared() -> None:
    assert prepares_or_refuses(parquet(GOOD_SPLIT), parquet(GOOD_SPLIT), validation=0.2)


@given(data=st.data())
@few
def test_a_damaged_file_is_prepared_or_refused(data) -> None:
    """A flipped byte may go unnoticed, in a pixel say; it never raises anything else."""
    content = bytearray(parquet(GOOD_SPLIT))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    prepares_or_refuses(bytes(content[:cut]), parquet(GOOD_SPLIT), validation=0.0)


@given(text=st.text(max_size=30))
@few
def test_any_source_is_read_or_refused(text, tmp_path) -> None:
    """Without an address in it nothing remote is asked, whatever the text."""
    with contextlib.suppress(DataError, ParameterError):
        settings = parse({"prepare": {"dataset": "folder", "source": text}}, "here").prepare
        prepare.run(settings, tmp_path / "prepared")
