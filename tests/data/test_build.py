import hashlib
import os
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from crest.data.build import Histogram, build
from crest.data.datasets import open_source
from crest.data.files import read_meta
from crest.data.prepared import load
from crest.data.sources import Source
from crest.data.splits import ArrayFile
from crest.data.verifying import content_hash
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters
from tests.data.image_files import exif, written


def prepare(opened, folder, **params):
    folder.mkdir()
    return build(opened, PrepareParameters(**params), folder, lambda done: None)


def prepare_parquet(files, folder, **params):
    params = {"dataset": "parquet", "source": str(files), "validation": 0.0} | params
    return prepare(open_source(PrepareParameters(**params)), folder, **params)


@pytest.fixture
def random_source(reader):
    """Forty grey images of four classes, ten of them for testing."""
    images = np.random.default_rng(1).integers(0, 256, (40, 5, 4, 1), dtype=np.uint8)
    labels = np.arange(40) % 4
    return Source(
        reader(labels[:30], images[:30], batch=7), reader(labels[30:], images[30:], batch=7)
    )


def test_arrays_come_back_as_they_were(random_source, tmp_path):
    meta = prepare(random_source, tmp_path / "out", validation=0.0)
    data = load(tmp_path / "out", torch.device("cpu"))
    assert meta == data.meta == read_meta(tmp_path / "out")
    assert meta.sizes == {"train": 30, "test": 10}
    assert (meta.kind, meta.image_shape, meta.source) == ("image", [5, 4, 1], "bundled")
    assert meta.classes == ["0", "1", "2", "3"]
    assert data.validation is None
    for name in ("train", "test"):
        reader = getattr(random_source, name)
        images = np.load(tmp_path / "out" / f"{name}_images.npy")
        labels = np.load(tmp_path / "out" / f"{name}_labels.npy")
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert np.array_equal(images, reader.images)
        assert np.array_equal(labels, reader.targets)


def test_validation_is_taken_out_of_train_and_both_keep_their_order(random_source, tmp_path):
    meta = prepare(random_source, tmp_path / "out", validation=0.25, seed=3)
    assert meta.sizes == {"train": 22, "validation": 8, "test": 10}
    rows = {image.tobytes(): row for row, image in enumerate(random_source.train.images)}
    places = {}
    for name in ("train", "validation"):
        images = np.load(tmp_path / "out" / f"{name}_images.npy")
        labels = np.load(tmp_path / "out" / f"{name}_labels.npy")
        places[name] = [rows[image.tobytes()] for image in images]
        assert places[name] == sorted(places[name])
        assert np.array_equal(labels, random_source.train.targets[places[name]])
    assert sorted(places["train"] + places["validation"]) == list(range(30))
    assert np.bincount(labels).tolist() == [2, 2, 2, 2]


def test_statistics_are_of_the_training_split_alone(random_source, tmp_path):
    meta = prepare(random_source, tmp_path / "out", validation=0.25)
    scaled = np.load(tmp_path / "out" / "train_images.npy") / 255
    assert meta.mean == pytest.approx(scaled.mean((0, 1, 2)).tolist())
    assert meta.std == pytest.approx(scaled.std((0, 1, 2)).tolist())


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_bytes_do_not_depend_on_the_workers(write_source, tmp_path, workers):
    folder = write_source()
    prepare_parquet(folder, tmp_path / "default", validation=0.25)
    prepare_parquet(folder, tmp_path / "out", validation=0.25, workers=workers)
    names = sorted(path.name for path in (tmp_path / "default").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in names:
        assert (tmp_path / "default" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_progress_counts_the_examples_of_both_splits(random_source, tmp_path):
    progress = []
    build(random_source, PrepareParameters(), tmp_path, progress.append)
    assert progress == [7, 14, 21, 28, 30, 37, 40]


def test_the_hash_is_of_names_and_contents(random_source, tmp_path):
    meta = prepare(random_source, tmp_path / "out")
    digest = hashlib.sha256()
    for split in ("test", "train", "validation"):
        for name in (f"{split}_images.npy", f"{split}_labels.npy"):
            digest.update(name.encode() + (tmp_path / "out" / name).read_bytes())
    assert meta.content_hash == digest.hexdigest() == content_hash(tmp_path / "out")


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(*(st.integers(1, 5) for _ in range(3)), st.just(3))))
def test_channel_statistics_equal_plain_ones(images):
    histogram = Histogram(3)
    histogram.add(images[:2])
    histogram.add(images[2:])
    mean, std = histogram.statistics()
    assert np.allclose(mean, (images / 255).mean((0, 1, 2)))
    plain = (images / 255).std((0, 1, 2))
    constant = (images == images[:1, :1, :1]).all((0, 1, 2))
    assert np.allclose(std, np.where(constant, 1.0, plain))


def test_rows_appended_are_an_array(tmp_path, pixels):
    with ArrayFile(tmp_path / "array.npy", np.uint8, pixels.shape[1:]) as file:
        file.append(pixels[:5])
        file.append(pixels[5:])
    assert np.array_equal(np.load(tmp_path / "array.npy"), pixels)


def bad_image(position, value):
    def change(images):
        return {"image": [*images[:position], value, *images[position + 1 :]]}

    return change


@pytest.mark.parametrize("value", [None, b"", b"not an image"])
def test_a_bad_image_is_named_by_file_column_and_row(write_source, pixels, encode, tmp_path, value):
    images = [encode(image) for image in pixels]
    folder = write_source(train=bad_image(17, value)(images))
    message = r"train-00000-of-00001.parquet, column 'image', row 17 \(counted from 0\): "
    with pytest.raises(DataError, match=message):
        prepare_parquet(folder, tmp_path / "out")


def test_a_test_image_of_another_size_is_refused_or_resized(write_source, pixels, encode, tmp_path):
    images = [encode(image) for image in pixels[:6]]
    folder = write_source(test=bad_image(2, encode(pixels[0, :5]))(images))
    message = (
        r"test-.*, row 2 \(counted from 0\): 6×5 pixels .*, but .*train-.*, row 0 .*: 6×8 pixels"
    )
    with pytest.raises(DataError, match=message):
        prepare_parquet(folder, tmp_path / "out")
    assert prepare_parquet(folder, tmp_path / "sized", image_size=4).image_shape == [4, 4, 3]


def test_string_labels_become_classes(write_source, tmp_path):
    names = ["dog", "ape", "cat"]
    meta = prepare_parquet(
        write_source(train={"label": names * 8}, test={"label": names * 2}), tmp_path / "out"
    )
    assert meta.classes == ["ape", "cat", "dog"]
    assert np.load(tmp_path / "out" / "test_labels.npy").tolist() == [2, 0, 1] * 2


def test_labels_are_checked_before_any_image_is_decoded(write_source, tmp_path):
    folder = write_source(train={"image": [b"bad"] * 24}, test={"label": [0, 1, 2, None, 1, 2]})
    with pytest.raises(DataError, match=r"test-.*, column 'label', row 3 .*: the label is null"):
        prepare_parquet(folder, tmp_path / "out")


def test_an_empty_split_is_refused(write_source, tmp_path):
    empty = {"image": pl.Series([], dtype=pl.Binary), "label": pl.Series([], dtype=pl.Int64)}
    with pytest.raises(
        DataError, match=r"test-00000-of-00001.parquet: no rows; .*; set prepare.test_split"
    ):
        prepare_parquet(write_source(test=empty), tmp_path / "out")


def test_a_share_that_takes_whole_classes_is_refused(write_source, tmp_path):
    with pytest.raises(ParameterError, match=r"^prepare.validation: 0.99 holds out every example"):
        prepare_parquet(write_source(), tmp_path / "out", validation=0.99)


def test_grey_real_images_become_rgb(samples, tmp_path):
    meta = prepare_parquet(samples / "tinyimagenet", tmp_path / "out", dataset="tinyimagenet")
    assert meta.image_shape == [64, 64, 3]
    assert meta.sizes == {"train": 10_000, "test": 1_000}
    assert len(meta.classes) == 20


# ------------------------------------------------------------------------- what is said, and where


def test_what_was_done_to_images_is_written_in_their_order(write_source, pixels, tmp_path):
    images = [written(Image.fromarray(image), "PNG") for image in pixels]
    clear = np.dstack([pixels[3], np.zeros(pixels[3].shape[:2], np.uint8)])
    images[3] = images[9] = written(Image.fromarray(clear), "PNG")
    images[5] = written(Image.fromarray(pixels[5]).rotate(90, expand=True), "PNG", exif=exif(6))
    folder = write_source(train={"image": images}, test={"image": images[6:12]})
    noted = prepare_parquet(folder, tmp_path / "out", workers=3).notes
    first = f"(first: {folder}/train-00000-of-00001.parquet, column 'image', row"
    assert noted[:2] == [
        f"1 image turned upright, as EXIF orientation says {first} 5 (counted from 0))",
        f"3 images transparent in parts, laid on white {first} 3 (counted from 0))",
    ]
    assert noted[2].startswith("warning: 3 images are of one colour throughout (first: ")
    assert noted[3].startswith("warning: 6 images of test lie in train too, byte for byte (first: ")
    assert read_meta(tmp_path / "out").notes == noted
    prepared = np.load(tmp_path / "out" / "train_images.npy")
    assert np.array_equal(prepared[5], pixels[5])
    assert (prepared[[3, 9]] == 255).all()


def test_what_pillow_warns_of_is_said_and_not_shown(write_source, pixels, tmp_path, recwarn):
    broken = b"Exif\0\0II*\0\x08\0\0\0\1\0\x0f\1\2\0\xff\0\0\0\xff\xff\0\0"
    images = [written(Image.fromarray(image), "JPEG", exif=broken) for image in pixels]
    noted = prepare_parquet(write_source(train={"image": images}), tmp_path / "out").notes
    assert len(noted) in (1, 2)
    for line in noted:
        assert line.startswith("Pillow warned: ")
        assert line.endswith("(24 times)")
    assert not recwarn


def test_pillows_own_limit_is_lifted_while_images_are_decoded(write_source, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    prepare_parquet(write_source(), tmp_path / "out")
    assert Image.MAX_IMAGE_PIXELS == 10


def test_what_the_disk_has_no_room_for_is_refused_before_it_fills(
    write_source, tmp_path, monkeypatch
):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**6))
    with pytest.raises(DataError, match=r"^prepare.image_size: 30 images of 1000×1000 pixels of 3"):
        prepare_parquet(write_source(), tmp_path / "out", image_size=1000, storage="pixels")
    assert list((tmp_path / "out").iterdir()) == []


def files_of_noise(folder, count=30):
    """A folder of photographs that take more bytes than their pixels made small."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 40, 60, 3), dtype=np.uint8)
    for number, image in enumerate(noise):
        path = folder / ("ant", "bee")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(Image.fromarray(image), "JPEG", quality=95))
    return sorted(folder.rglob("*.jpg"))


@pytest.mark.parametrize("dataset", ["folder", "listed", "parquet"])
def test_files_that_the_disk_has_no_room_for_are_refused_before_it_fills(
    tmp_path, monkeypatch, dataset
):
    files = files_of_noise(tmp_path / "in")
    taken = sum(file.stat().st_size for file in files)
    source = tmp_path / "in"
    if dataset == "listed":
        source = tmp_path / "in" / "list.csv"
        rows = {"image": [str(file.relative_to(tmp_path / "in")) for file in files]}
        pl.DataFrame(rows | {"label": [file.parent.name for file in files]}).write_csv(source)
    if dataset == "parquet":
        rows = {"image": [file.read_bytes() for file in files]}
        rows |= {"label": [file.parent.name for file in files], "more": ["much " * 10**4] * 30}
        source.joinpath("train.parquet").touch()
        pl.DataFrame(rows).write_parquet(source / "train.parquet", compression="uncompressed")
    params = {"dataset": dataset, "source": str(source), "image_size": 16, "validation": 0.0}
    params["storage"] = "encoded"

    def prepared(free, **more):
        monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
        out = tmp_path / f"out{free}{len(more)}"
        prepare(open_source(PrepareParameters(**params | more)), out, **params | more)
        return out

    message = r"^prepare.storage: the files of 30 images take .* kB, but .* kB are free where .*"
    with pytest.raises(DataError, match=message + r"; free some, .* to pixels, which take 23.0 kB"):
        prepared(taken - 1)
    assert list((tmp_path / f"out{taken - 1}0").iterdir()) == []
    prepared(taken - 1, encoded_side=20)
    out = prepared(taken)
    assert sum(path.stat().st_size for path in out.glob("*_bytes.npy")) >= taken


def test_names_that_are_no_utf8_are_written_escaped(tmp_path, pixels, encode):
    name = os.fsdecode(b"caf\xe9.png")
    for file, image in (("ant/0.png", 0), ("bee/0.png", 1), (f"bee/{name}", 2)):
        (tmp_path / "in" / file).parent.mkdir(parents=True, exist_ok=True)
        content = encode(pixels[image] if image < 2 else np.zeros_like(pixels[0]))
        (tmp_path / "in" / file).write_bytes(content)
    params = {"dataset": "folder", "source": str(tmp_path / "in"), "validation": 0.0, "seed": 1}
    meta = prepare(open_source(PrepareParameters(**params)), tmp_path / "out", **params)
    assert "bee/caf\\udce9.png" in meta.notes[-1]
    assert read_meta(tmp_path / "out") == meta
