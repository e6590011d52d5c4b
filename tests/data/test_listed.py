import json

import numpy as np
import pytest

from crest.data.build import build
from crest.data.datasets import open_source
from crest.data.origins import source_of
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters

ROWS = [("cat/0.png", "cat"), ("ape/1.png", "ape"), ("cat/2.png", "cat"), ("ape/3.png", "ape")]


@pytest.fixture
def folder(tmp_path, pixels, encode):
    for number, (path, _) in enumerate(ROWS):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(encode(pixels[number]))
    return tmp_path


def csv(folder, rows=ROWS, header="image,label", name="list.csv"):
    lines = [header, *(",".join(row) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def json_lines(folder, rows=ROWS, keys=("image", "label"), name="list.jsonl"):
    lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def open_list(path, **params):
    return open_source(PrepareParameters(dataset="listed", source=str(path), **params))


@pytest.mark.parametrize("write", [csv, json_lines])
def test_images_come_in_the_order_of_the_list(folder, pixels, encode, write):
    source = open_list(write(folder))
    [contents] = source.train.examples()
    assert contents == [encode(image) for image in pixels[:4]]
    assert source.train.labels().to_list() == [label for _, label in ROWS]
    assert source.test is None


def test_other_columns_and_endings(folder):
    path = csv(folder, [(a, b, "1") for a, b in ROWS], "file\tname\tx", "list.TSV")
    path.write_text(path.read_text().replace(",", "\t"))
    train = open_list(path, image_column="file", label_column="name").train
    assert train.labels().to_list() == ["cat", "ape"] * 2


def test_numbers_are_labels_as_they_are(folder):
    assert open_list(json_lines(folder, [(path, 7) for path, _ in ROWS])).train.labels().sum() == 28


def test_a_column_names_the_splits(folder):
    splits = ["train", "val", "train", "unused"]
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    source = open_list(csv(folder, rows, "image,label,split"))
    assert [file.name for file in source.train.files] == ["0.png", "2.png"]
    assert [file.name for file in source.test.files] == ["1.png"]
    assert source.test.label_at(0).endswith(
        "list.csv, column 'label', row 1 (counted from 0), line 3"
    )
    assert "no split test: val is the test split (prepare.test_split)" in source.notes
    assert "rows of other splits are not read: unused (1)" in source.notes
    named = open_list(
        csv(folder, rows, "image,label,part"), split_column="part", validation_split="unused"
    )
    assert len(named.validation) == 1


def test_a_list_is_prepared_and_leads_back(folder, pixels, tmp_path):
    rows = [(*row, split) for row in ROWS for split in ("train", "test")]
    path = csv(folder, rows, "image,label,split")
    params = PrepareParameters(dataset="listed", source=str(path), validation=0.0)
    out = tmp_path / "out"
    out.mkdir()
    meta = build(open_source(params), params, out, lambda done: None)
    assert meta.classes == ["ape", "cat"]
    assert np.array_equal(np.load(out / "train_images.npy"), pixels[:4])
    assert str(source_of(out, "train", 3)) == str(folder / "ape/3.png")
    warned = [note for note in meta.notes if "lead to a file that an earlier row leads to" in note]
    assert warned[0].startswith("warning: 4 rows lead")


def test_an_absolute_path_within_the_folder_is_as_its_relative_one(folder):
    rows = [(str(folder.absolute() / path), label) for path, label in ROWS]
    assert open_list(csv(folder, rows)).train.files == open_list(csv(folder, ROWS)).train.files


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("cat/9.png", "no file cat/9.png in"),
        ("cat", "cat is no file"),
        (".", "is no file"),
        ("https://example.com/1.png", "is an address; download the image"),
        ("/etc/hostname", "leads out of"),
        ("../1.png", "leads out of"),
        ("cat/../../1.png", "leads out of"),
        ("", "there is no path"),
        ("x" * 300, "cannot be read|no file"),
    ],
)
def test_bad_paths_are_refused_with_file_and_row(folder, path, reason):
    rows = [*ROWS[:2], (path, "cat"), ROWS[3]]
    where = rf"list\.csv, column 'image', row 2 \(counted from 0\), line 4: .*({reason})"
    with pytest.raises(DataError, match=where):
        open_list(csv(folder, rows))
    where = rf"list\.jsonl, column 'image', row 2 \(counted from 0\), line 3: .*({reason})"
    with pytest.raises(DataError, match=where):
        open_list(json_lines(folder, rows))


def test_a_path_within_the_folder_may_take_a_turn(folder):
    rows = [("cat/../cat/0.png", "cat"), *ROWS[1:], ("cat/0.png", "cat")]
    source = open_list(csv(folder, rows))
    assert source.notes == (
        f"warning: 1 rows lead to a file that an earlier row leads to (first: {folder}/list.csv, "
        f"column 'image', row 4 (counted from 0), line 6, {folder}/cat/0.png); each counts",
    )


@pytest.mark.parametrize(
    ("header", "params", "message"),
    [
        (
            "file,label",
            {},
            r"no column 'image'; its columns: file, label; set prepare.image_column",
        ),
        ("image,class", {}, r"no column 'label'; .*; set prepare.label_column"),
        ("image,label", {"split_column": "part"}, r"no column 'part'; .* set prepare.split_column"),
    ],
)
def test_a_missing_column_is_named(folder, header, params, message):
    with pytest.raises(DataError, match=message):
        open_list(csv(folder, header=header), **params)


def test_splits_that_are_not_there_are_refused(folder):
    rows = [(*row, "train") for row in ROWS]
    path = csv(folder, rows, "image,label,split")
    with pytest.raises(
        DataError, match=r"no row of split 'held'; splits there: train; set prepare"
    ):
        open_list(path, test_split="held")
    with pytest.raises(ParameterError, match=r"^prepare.test_split: .* has no column of splits"):
        open_list(csv(folder), test_split="held")
    rows[2] = (*ROWS[2], " ")
    with pytest.raises(DataError, match=r"column 'split', row 2 .*: there is no split"):
        open_list(csv(folder, rows, "image,label,split"))


def test_what_is_no_list_is_refused(folder):
    with pytest.raises(DataError, match=r"is a folder, not a file; set prepare.source"):
        open_list(folder)
    with pytest.raises(DataError, match=r"absent.csv: no such file"):
        open_list(folder / "absent.csv")
    with pytest.raises(ParameterError, match=r"name of the list must end in \.csv"):
        open_list(folder / "cat" / "0.png")
    with pytest.raises(ParameterError, match=r"cannot be read from there; name a file"):
        open_list("hf://datasets/a/b")
    with pytest.raises(DataError, match=r"list.csv: no rows"):
        open_list(csv(folder, []))
    with pytest.raises(
        DataError, match=r"is a whole number, not text; .* set prepare.image_column"
    ):
        open_list(json_lines(folder, [(1, "cat")]))


def test_an_image_that_is_gone_or_bad_is_named(folder, tmp_path):
    path = csv(folder)
    params = PrepareParameters(dataset="listed", source=str(path), validation=0.0)
    (folder / "cat" / "2.png").write_bytes(b"")
    (tmp_path / "out").mkdir()
    message = r"list.csv, column 'image', row 2 \(counted from 0\), line 4, .*cat/2.png: .* empty"
    with pytest.raises(DataError, match=message):
        build(open_source(params), params, tmp_path / "out", lambda done: None)
