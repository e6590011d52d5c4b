import json

import polars as pl
import pytest

from crest.data import parquet
from crest.data.datasets import open_source
from crest.data.split_files import places
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters

NAMES = {
    "info": {"features": {"label": {"names": ["ape", "bee", "cat"], "_type": "ClassLabel"}}},
}


def open_folder(folder, dataset="parquet", **params):
    return open_source(PrepareParameters(dataset=dataset, source=str(folder), **params))


def contents(reader):
    return [example for batch in reader.examples() for example in batch]


@pytest.mark.parametrize("inner", ["", "data", "plain_text"])
@pytest.mark.parametrize("plain", [False, True])
def test_files_are_found_in_the_source_or_a_folder_of_it(write_source, tmp_path, inner, plain):
    folder = write_source(tmp_path / inner)
    if plain:
        for name in ("train", "test"):
            (folder / f"{name}-00000-of-00001.parquet").rename(folder / f"{name}.parquet")
    source = open_folder(tmp_path)
    assert (len(source.train), len(source.test)) == (24, 6)


def test_rows_come_back_as_they_were_written(write_source, pixels, encode):
    train = open_folder(write_source()).train
    assert contents(train) == [encode(image) for image in pixels]
    assert train.labels().to_list() == [0, 1, 2] * 8


def test_structs_and_plain_binary_are_the_same(write_source, pixels, encode, tmp_path):
    structs = [{"bytes": encode(image), "path": "x.png"} for image in pixels]
    structs[3], structs[4] = None, {"bytes": None, "path": "y.png"}
    found = contents(open_folder(write_source(train={"image": structs})).train)
    assert found[5:] == [encode(image) for image in pixels[5:]]
    assert found[3:5] == [None, None]


def test_shards_follow_each_other_and_rows_count_within_a_file(write_source):
    folder = write_source()
    whole = folder / "train-00000-of-00001.parquet"
    frame = pl.read_parquet(whole)
    whole.unlink()
    frame[:10].write_parquet(folder / "train-00000-of-00002.parquet")
    frame[10:].write_parquet(folder / "train-00001-of-00002.parquet")
    train = open_folder(folder).train
    assert train.labels().equals(frame["label"])
    assert contents(train) == frame["image"].to_list()
    assert train.example_at(9).endswith(
        "00000-of-00002.parquet, column 'image', row 9 (counted from 0)"
    )
    assert "00001-of-00002.parquet, column 'label', row 0 " in train.label_at(10)


def test_slices_cover_a_file(write_source, monkeypatch):
    train = open_folder(write_source()).train
    whole = contents(train)
    monkeypatch.setattr("crest.data.parquet.slice_rows", lambda file, rows: 10)
    assert [len(batch) for batch in train.examples()] == [10, 10, 4]
    assert contents(train) == whole


def test_long_rows_are_read_few_at_a_time(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(1_000_000))
    counts = [parquet.slice_rows(str(file), rows) for rows in (1000, 10, 1)]
    assert counts == [1000, 100, 10]
    for address in ("hf://datasets/owner/name/", "https://huggingface.co/datasets/owner/name/"):
        assert parquet.slice_rows(f"{address}train.parquet", 5) == 1000


def test_columns_and_splits_can_have_other_names(write_source, pixels, encode):
    renamed = {"picture": [encode(image) for image in pixels], "kind": ["b", "a", "c"] * 8}
    folder = write_source(train=renamed, test=None, names=("mine", "test"))
    params = {"image_column": "picture", "label_column": "kind", "train_split": "mine"}
    with pytest.raises(DataError, match=r"test-.*: no column 'picture'; its columns: image, label"):
        open_folder(folder, **params)
    params["test_share"] = 0.5
    assert open_folder(folder, **params).train.labels().to_list() == ["b", "a", "c"] * 8


def test_categories_are_read_as_strings(write_source):
    labels = pl.Series(["b", "a"] * 12, dtype=pl.Categorical)
    train = open_folder(write_source(train={"label": labels})).train
    assert train.labels().to_list() == ["b", "a"] * 12


def test_classes_are_named_by_the_file(write_source):
    source = open_folder(write_source(metadata={"huggingface": json.dumps(NAMES)}))
    assert source.class_names == ("ape", "bee", "cat")


def described(names):
    feature = {"label": {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": feature}})}


def write_named(folder, name, labels, names):
    images = {"image": [b"x"] * len(labels), "label": labels}
    frame = pl.DataFrame(images, strict=False)
    frame.write_parquet(folder / f"{name}.parquet", metadata=described(names) if names else None)


def test_every_files_own_class_names_count(tmp_path):
    write_named(tmp_path, "train-00000-of-00003", [0, 1, 2], ["ant", "bee", "cow"])
    write_named(tmp_path, "train-00001-of-00003", [0, 1, 2], ["cow", "bee", "ant"])
    write_named(tmp_path, "train-00002-of-00003", [0, 1], ["cow", "ant"])
    write_named(tmp_path, "test", [0, 1, -1], ["ant", "cow"])
    source = open_folder(tmp_path)
    assert source.class_names == ("ant", "bee", "cow")
    assert source.train.labels().to_list() == [0, 1, 2, 2, 1, 0, 2, 0]
    assert source.test.labels().to_list() == [0, 2, -1]
    assert [note.partition(":")[0] for note in source.notes] == ["train", "test"]


def test_a_class_of_test_that_train_does_not_have_is_named_with_its_row(tmp_path):
    write_named(tmp_path, "train", [0, 1], ["ant", "bee"])
    write_named(tmp_path, "test", [0, 2], ["ant", "bee", "cow"])
    with pytest.raises(
        DataError, match=r"test.parquet, column 'label', row 1 .*the label is 'cow'"
    ):
        open_folder(tmp_path).test.labels()


def test_shards_of_numbers_and_of_strings_do_not_go_together(tmp_path):
    write_named(tmp_path, "train-00000-of-00002", [0, 1], None)
    write_named(tmp_path, "train-00001-of-00002", ["0", "1"], None)
    with pytest.raises(DataError, match=r"00001-of-00002.parquet, column 'label', row 0 .*strings"):
        open_folder(tmp_path).train.labels()


def test_shards_without_rows_are_passed_over(write_source, pixels, encode):
    folder = write_source()
    whole = folder / "train-00000-of-00001.parquet"
    frame = pl.read_parquet(whole)
    whole.unlink()
    frame.write_parquet(folder / "train-00001-of-00003.parquet")
    frame.head(0).write_parquet(folder / "train-00000-of-00003.parquet")
    pl.DataFrame({"image": [], "label": []}).write_parquet(folder / "train-00002-of-00003.parquet")
    train = open_folder(folder).train
    assert contents(train) == [encode(image) for image in pixels]
    assert train.labels().to_list() == [0, 1, 2] * 8
    assert "00001-of-00003" in train.label_at(0)


@pytest.mark.parametrize("name", ["*", "^.*$", "^label$", "", "a b\n\"c'", "\u00e9", "image*"])
def test_columns_are_taken_by_their_exact_names(tmp_path, name):
    columns = {"image": [b"a"] * 4, "label": [9] * 4, name: [0, 1, 0, 1], f"{name}$": [b"b"] * 4}
    for split in ("train", "test"):
        pl.DataFrame(columns).write_parquet(tmp_path / f"{split}.parquet")
    train = open_folder(tmp_path, label_column=name, image_column=f"{name}$").train
    assert train.labels().to_list() == [0, 1, 0, 1]
    assert contents(train) == [b"b"] * 4


@pytest.mark.parametrize("layout", ["default/{}/0000", "{}/0000", "data/partial-{}/0000"])
def test_the_hubs_converted_branch_is_read(write_source, tmp_path, layout):
    folder = write_source()
    for split in ("train", "test"):
        path = tmp_path / f"{layout.format(split)}.PARQUET"
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}-00000-of-00001.parquet").rename(path)
    source = open_folder(tmp_path)
    assert (len(source.train), len(source.test)) == (24, 6)


def test_a_remote_listing_is_asked_of_polars(write_source, tmp_path, monkeypatch):
    write_source(tmp_path / "plain_text")
    remote = "hf://datasets/owner/name"

    def here(source, split):
        return [f"{tmp_path}/{place}.parquet" for place in places(split) if "*" in place[-1]]

    monkeypatch.setattr("crest.data.split_files.addresses", here)
    source = open_folder(remote)
    assert source.train.files == (f"{tmp_path}/plain_text/train-00000-of-00001.parquet",)
    with pytest.raises(DataError, match=r"name: no dev-\*.parquet or dev.parquet; .*test_split"):
        open_folder(remote, test_split="dev")


def test_missing_files_are_answered_with_those_there(write_source):
    folder = write_source()
    message = (
        r"no dev-\*.parquet or dev.parquet; Parquet files there: "
        r"test-00000-of-00001.parquet, train-00000-of-00001.parquet; set prepare.test_split"
    )
    with pytest.raises(DataError, match=message):
        open_folder(folder, test_split="dev")


@pytest.mark.parametrize("name", ["*", "../train", "", "a b"])
def test_a_split_is_no_pattern(write_source, name):
    with pytest.raises((ParameterError, DataError), match=r"prepare.train_split"):
        open_folder(write_source(names=("other", "test")), train_split=name)


@pytest.mark.parametrize(
    "left", [["train-00000-of-00002"], ["train-00000-of-00001", "train-00001-of-00002"]]
)
def test_an_incomplete_download_is_refused(write_source, left):
    folder = write_source()
    whole = (folder / "train-00000-of-00001.parquet").read_bytes()
    (folder / "train-00000-of-00001.parquet").unlink()
    for name in left:
        (folder / f"{name}.parquet").write_bytes(whole)
    with pytest.raises(DataError, match=r"not one whole set of 2 files, but train-00000"):
        open_folder(folder)


def test_one_of_several_configurations_must_be_named(write_source, tmp_path):
    write_source(tmp_path / "one")
    write_source(tmp_path / "two")
    with pytest.raises(DataError, match=r"several configurations \(one, two\); add one to prepare"):
        open_folder(tmp_path)
    assert len(open_folder(tmp_path / "two").train) == 24


@pytest.mark.parametrize(("change", "message"), [
    ({"image": list(range(24))}, "column 'image' holds Int64, not images .*prepare.image_column"),
    ({"image": ["x.png"] * 24}, "column 'image' holds String"),
    ({"image": [{"path": "x.png"}] * 24}, "column 'image' holds Struct"),
])  # fmt: skip
def test_a_column_of_another_type_is_refused(write_source, change, message):
    with pytest.raises(DataError, match=f"train-00000-of-00001.parquet: {message}"):
        open_folder(write_source(train=change))


def test_a_missing_label_column_is_answered_with_those_there(write_source):
    with pytest.raises(
        DataError, match=r"no column 'fine'; its columns: image, label; set prepare"
    ):
        open_folder(write_source(), label_column="fine")


@pytest.mark.parametrize("damage", ["empty", "text", "half"])
def test_what_is_no_parquet_file_is_refused(write_source, damage):
    folder = write_source()
    file = folder / "test-00000-of-00001.parquet"
    whole = file.read_bytes()
    file.write_bytes({"empty": b"", "text": b"image,label\n" * 9, "half": whole[:500]}[damage])
    with pytest.raises(DataError, match=r"test-.*: not a whole Parquet file .*; get it again"):
        open_folder(folder)


def test_damage_within_a_file_is_refused(write_source):
    folder = write_source()
    file = folder / "train-00000-of-00001.parquet"
    content = bytearray(file.read_bytes())
    content[20:900] = bytes(880)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"column 'image', near row 0 .*not a whole Parquet file"):
        contents(open_folder(folder).train)


def test_a_folder_whose_name_looks_like_a_pattern_is_read(write_source, tmp_path):
    assert len(open_folder(write_source(tmp_path / "[data]*")).train) == 24


@pytest.mark.parametrize(
    ("name", "sizes", "first"),
    [("cifar10", (50_000, 10_000), "img"), ("tinyimagenet", (10_000, 1_000), "image")],
)
def test_real_data_are_found(samples, name, sizes, first):
    source = open_folder(samples / name, name)
    assert (len(source.train), len(source.test)) == sizes
    assert f"column '{first}'" in source.train.example_at(0)
    assert source.train.labels().n_unique() == {"cifar10": 10, "tinyimagenet": 20}[name]
