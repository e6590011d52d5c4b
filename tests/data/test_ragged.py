"""Damaged files of prepared text are refused, with the file's name."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from crest.data.augment import Augmentation
from crest.data.files import SCHEMA_VERSIONS, TextMeta, checksum_of, read_meta, write_meta
from crest.data.origins import with_sources
from crest.data.prepared import load
from crest.data.verifying import with_hashes
from crest.errors import ArtifactError, ParameterError

CPU = torch.device("cpu")
LENGTHS = {"0": 1.0, "50": 2.0, "90": 3.0, "99": 3.0, "100": 3.0}
META = TextMeta(
    schema_version=SCHEMA_VERSIONS["text"],
    kind="text",
    dataset="made",
    source="tests",
    sizes={"train": 3, "test": 3},
    classes=["no", "yes"],
    text_columns=["text"],
    tokenizer="none",
    vocabulary_size=10,
    vocabulary_hash="0" * 64,
    pad_token_id=9,
    token_types=True,
    max_length=3,
    lengths={"train": LENGTHS, "test": LENGTHS},
    truncated={"train": 0, "test": 0},
    dropped={"train": 0, "test": 0},
    content_hash="0" * 64,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}_tokens.npy", np.array([1, 2, 3, 4, 5, 6], dtype=np.int32))
        np.save(tmp_path / f"{name}_offsets.npy", np.array([0, 1, 3, 6]))
        np.save(tmp_path / f"{name}_second_starts.npy", np.array([1, 1, 3], dtype=np.int32))
        np.save(tmp_path / f"{name}_labels.npy", np.array([0, 1, 0]))
        pl.DataFrame({"text": ["a", "b", "c"]}).write_parquet(tmp_path / f"{name}_texts.parquet")
    write_meta(tmp_path, with_hashes(tmp_path, META))
    return tmp_path


def test_meta_comes_back(folder):
    assert read_meta(folder) == with_hashes(folder, META)


def test_text_of_the_version_before_is_refused_with_advice(folder):
    """Its file of the second texts' starts had another name."""
    (folder / "meta.json").write_text('{"schema_version": 2, "kind": "text"}')
    with pytest.raises(
        ArtifactError, match=r"schema version 2, this code reads 4; run `python cli.py prepare`"
    ):
        read_meta(folder)


def test_text_of_version_3_is_read_and_does_not_say_where_it_came_from(folder):
    values = json.loads((folder / "meta.json").read_text()) | {"schema_version": 3}
    for added in ("source_hashes", "checksum"):
        del values[added]
    (folder / "meta.json").write_text(json.dumps(values | {"checksum": checksum_of(values)}))
    assert load(folder, CPU).meta == replace(with_hashes(folder, META), schema_version=3)
    table = pl.DataFrame({"index": [2, 0]})
    assert with_sources(table, folder).equals(table)


def test_a_batch_is_padded_to_its_longest(folder):
    split = load(folder, CPU).train
    found = split.inputs(torch.tensor([2, 0, 1]))
    assert found["input_ids"].tolist() == [[4, 5, 6], [1, 9, 9], [2, 3, 9]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert found["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert split.inputs(torch.tensor([0]))["input_ids"].tolist() == [[1]]
    assert split.lengths.tolist() == [1, 2, 3]
    assert len(split) == 3


@pytest.mark.parametrize(
    ("part", "values", "expected"),
    [
        ("tokens", np.array([1, 2, 3, 4, 5, 6]), "of torch.int32"),
        ("tokens", np.array([1, 2, 3], dtype=np.int32), "not where examples begin"),
        ("offsets", np.array([0, 3, 1, 6]), "not where examples begin"),
        ("offsets", np.array([0, 1, 1, 6]), "not where examples begin"),
        ("offsets", np.array([0, 1, 2, 6]), "not where examples begin"),
        ("offsets", np.array([0, 3, 6]), r"says \[4\] of torch.int64"),
        ("second_starts", np.array([1, 3, 3], dtype=np.int32), "places outside their examples"),
        ("second_starts", np.array([-1, 1, 3], dtype=np.int32), "places outside their examples"),
        ("second_starts", np.array([1, 1], dtype=np.int32), r"says \[3\] of torch.int32"),
        ("labels", np.array([0, 1, 2]), "labels outside 2 classes"),
        ("labels", np.array([0, 1]), r"says \[3\] of int64"),
    ],
)
def test_a_damaged_file_is_named(folder, part, values, expected):
    np.save(folder / f"train_{part}.npy", values)
    with pytest.raises(ArtifactError, match=rf"train_\w+\.npy: damaged .*{expected}"):
        load(folder, CPU)


@pytest.mark.parametrize("token", [10, -1])
def test_a_token_outside_the_vocabulary_is_refused_where_it_is_read(folder, token):
    np.save(folder / "train_tokens.npy", np.array([1, 2, 3, 4, 5, token], dtype=np.int32))
    write_meta(folder, with_hashes(folder, META))
    split = load(folder, CPU).train
    assert split.inputs(torch.tensor([0, 1]))["input_ids"].tolist() == [[1, 9], [2, 3]]
    with pytest.raises(ArtifactError, match=r"train_tokens\.npy: damaged \(tokens outside 10\)"):
        split.inputs(torch.tensor([1, 2]))


@pytest.mark.parametrize("part", ["tokens", "offsets", "second_starts", "labels"])
def test_a_missing_file_is_named(folder, part):
    (folder / f"test_{part}.npy").unlink()
    with pytest.raises(ArtifactError, match=rf"test_{part}\.npy: no such file; run"):
        load(folder, CPU)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": {"train": 3}},
        {"text_columns": []},
        {"text_columns": ["a", "b", "c"]},
        {"pad_token_id": 10},
        {"vocabulary_size": 0},
        {"token_types": 1},
        {"max_length": "3"},
        {"lengths": {"train": LENGTHS}},
        {"truncated": {"train": -1, "test": 0}},
        {"classes": ["one"]},
    ],
    ids=str,
)
def test_a_description_that_contradicts_itself_is_refused(folder, change):
    write_meta(folder, replace(with_hashes(folder, META), **change))
    with pytest.raises(ArtifactError, match=r"meta\.json: damaged"):
        read_meta(folder)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (Augmentation(1, False), r"^train\.augment_crop: the prepared data are text; set to 0$"),
        (Augmentation(0, True), r"^train\.augment_flip: .*; set to false$"),
        (
            Augmentation(policy="trivialaugment", erasing=0.1),
            r"^train\.augment_policy, train\.augment_erasing: .*; set to null, 0\.0$",
        ),
    ],
)
def test_text_is_not_augmented(folder, augmentation, message):
    with pytest.raises(ParameterError, match=message):
        load(folder, CPU, augmentation)
