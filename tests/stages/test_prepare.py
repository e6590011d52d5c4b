import errno
import io

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from crest.data.prepared import load
from crest.errors import ArtifactError, DataError, ParameterError
from crest.parameters.sections import PrepareParameters
from stages import prepare
from tests.tiny_text import tiny_tokenizer


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_digits_are_prepared_by_default(tmp_path, capfd):
    folder = tmp_path / "data" / "prepared"
    meta = prepare.run(PrepareParameters(), folder)
    assert meta.sizes == {"train": 1297, "validation": 145, "test": 355}
    assert meta.image_shape == [8, 8, 1]
    assert len(load(folder, torch.device("cpu")).train) == 1297
    assert names(folder.parent) == ["prepared"]
    assert capfd.readouterr() == ("", "")


def test_the_same_parameters_give_the_same_data(tmp_path):
    first = prepare.run(PrepareParameters(), tmp_path / "one")
    assert prepare.run(PrepareParameters(), tmp_path / "two") == first
    assert prepare.run(PrepareParameters(seed=1), tmp_path / "two") != first


def test_an_earlier_result_is_replaced_whole(tmp_path):
    folder = tmp_path / "prepared"
    prepare.run(PrepareParameters(), folder)
    prepare.run(PrepareParameters(validation=0.0), folder)
    assert names(folder) == [
        "meta.json",
        "test_images.npy",
        "test_labels.npy",
        "test_sources.parquet",
        "train_images.npy",
        "train_labels.npy",
        "train_sources.parquet",
    ]
    assert names(tmp_path) == ["prepared"]


@pytest.mark.parametrize("failure", [DataError("bad row"), KeyboardInterrupt(), MemoryError()])
def test_an_earlier_result_stays_when_anything_fails(tmp_path, monkeypatch, failure):
    folder = tmp_path / "prepared"
    meta = prepare.run(PrepareParameters(), folder)

    def fail(reader, *_):
        raise failure

    monkeypatch.setattr("crest.data.build.write_labels", fail)
    with pytest.raises(type(failure)):
        prepare.run(PrepareParameters(seed=1), folder)
    assert load(folder, torch.device("cpu")).meta == meta
    assert names(tmp_path) == ["prepared"]


def test_a_full_disk_is_said_plainly(tmp_path, monkeypatch):
    def full(self, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("crest.data.image_files.ArrayFile.append", full)
    with pytest.raises(ArtifactError, match=r"prepared: cannot be written: .*No space left"):
        prepare.run(PrepareParameters(), tmp_path / "prepared")
    assert names(tmp_path) == []


def prepared_splits(folder, part):
    """Number of examples of each split, and what they are, sorted."""
    found = {name: np.load(folder / f"{name}_{part}.npy") for name in ("train", "test")}
    return [len(values) for values in found.values()], np.concatenate([*found.values()])


def test_without_a_test_split_a_share_of_train_is_held_out_and_said(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    labels = [row % 2 for row in range(40)]
    (tmp_path / "parquet").mkdir()
    files = [tmp_path / f"folder/train/{'ab'[label]}/{row}.png" for row, label in enumerate(labels)]
    for file, pixels in zip(files, images, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    content = {"image": [file.read_bytes() for file in files], "label": labels}
    pl.DataFrame(content).write_parquet(tmp_path / "parquet" / "train.parquet")
    for dataset in ("parquet", "folder"):
        source = str(tmp_path / dataset)
        params = PrepareParameters(dataset=dataset, source=source, validation=0.0)
        meta = prepare.run(params, tmp_path / "prepared")
        assert meta.sizes == {"train": 36, "test": 4}
        assert "no test split: 10% of train held out (prepare.test_share)" in prepare.notes(meta)
        sizes, found = prepared_splits(tmp_path / "prepared", "images")
        assert sizes == [36, 4]
        assert sorted(map(bytes, found)) == sorted(map(bytes, images))


def test_texts_without_a_test_split_are_held_out_of_train(tmp_path):
    tiny_tokenizer(tmp_path / "tokenizer")
    rows = [f"{word} {row % 2}" for row, word in enumerate("abcdefghijklmnopqrst")]
    frame = pl.DataFrame({"text": rows, "label": [row % 2 for row in range(20)]})
    (tmp_path / "texts").mkdir()
    frame.write_csv(tmp_path / "texts" / "train.csv")
    params = PrepareParameters(
        dataset="text",
        source=str(tmp_path / "texts"),
        tokenizer=str(tmp_path / "tokenizer"),
        test_share=0.2,
    )
    meta = prepare.run(params, tmp_path / "prepared")
    assert meta.sizes == {"train": 14, "validation": 2, "test": 4}
    assert "test: 20% of train held out (prepare.test_share)" in prepare.notes(meta)
    found = pl.concat(
        pl.read_parquet(tmp_path / "prepared" / f"{split}_texts.parquet") for split in meta.sizes
    )
    assert sorted(found["text"]) == sorted(rows)


def test_a_validation_split_of_ones_own_is_taken_whole(tmp_path):
    for split, count in (("train", 12), ("test", 4), ("dev", 6)):
        pixels = [bytes_of(np.full((4, 4, 3), row, np.uint8)) for row in range(count)]
        frame = pl.DataFrame({"image": pixels, "label": [row % 2 for row in range(count)]})
        frame.write_parquet(tmp_path / f"{split}.parquet")
    params = PrepareParameters(dataset="parquet", source=str(tmp_path), validation_split="dev")
    meta = prepare.run(params, tmp_path / "prepared")
    assert meta.sizes == {"train": 12, "validation": 6, "test": 4}
    held = np.load(tmp_path / "prepared" / "validation_images.npy")
    assert held[:, 0, 0, 0].tolist() == list(range(6))


def bytes_of(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_bad_parameters_leave_nothing_behind(tmp_path):
    with pytest.raises(ParameterError, match=r"^prepare\.dataset"):
        prepare.run(PrepareParameters(dataset="digit"), tmp_path / "prepared")
    assert names(tmp_path) == []
