import errno
import os
from pathlib import Path

import polars as pl
import pytest

from crest.data.split_files import SplitFiles, addresses, check_address
from crest.errors import DataError, ParameterError


@pytest.fixture
def touch(tmp_path):
    """A function that makes empty files in the source."""

    def made(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return SplitFiles(str(tmp_path), ("parquet", "csv"))

    return made


def found(files, tmp_path, split="train"):
    return [Path(file).relative_to(tmp_path).as_posix() for file in files.find(split, "test_split")]


@pytest.mark.parametrize(
    "names",
    [
        ["train.parquet"],
        ["train.PARQUET"],
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.Parquet"],
        ["default/train/0000.parquet", "default/train/0001.parquet"],
        ["train/0000.parquet"],
        ["train/part-00000-abc.parquet", "train/part-00001-abc.parquet"],
        ["default/partial-train/0000.parquet"],
        ["TRAIN/../data/train.CSV"],
    ],
)
def test_layouts_of_the_hub_and_of_people_are_found(touch, tmp_path, names):
    (tmp_path / "TRAIN").mkdir()
    files = touch(*names, ".cache/train.parquet", "data/.hidden/train.csv")
    assert found(files, tmp_path) == [name.replace("TRAIN/../", "") for name in names]
    assert "train" in files
    assert "test" not in files


def test_a_part_that_the_hub_converted_is_said(touch):
    files = touch("default/partial-train/0000.parquet")
    files.find("train", "train_split")
    assert files.notes == ["train: the hub converted a part of it only (partial-train)"]


def test_what_is_left_out_is_said(touch, tmp_path):
    files = touch("train.csv", "data/train.csv", "old/train-1.csv")
    assert found(files, tmp_path) == ["train.csv"]
    left = f"train: data/train.csv, old/train-1.csv left out: {tmp_path}/train.csv comes first"
    assert files.notes == [left]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["default/train/0001.parquet", "default/train/0003.parquet"], "not one whole set of 3"),
        (["train/0000.parquet", "train/0002.parquet"], "not one whole set of 3 files"),
        (["en/train/0000.parquet", "de/train/0000.parquet"], r"configurations \(de, en\)"),
        (["train.parquet", "train.PARQUET"], "train.PARQUET and train.parquet: keep one"),
        (["train.parquet", "train.csv"], "train in several formats"),
        (["en/dev/0000.parquet"], r"files of these formats there: en/dev/0000.parquet; set"),
    ],
)
def test_what_is_not_one_whole_split_is_refused(touch, names, message):
    with pytest.raises(DataError, match=message):
        touch(*names).find("train", "train_split")


def test_pipes_are_no_files(touch, tmp_path):
    files = touch("data/train.parquet")
    os.mkfifo(tmp_path / "train.parquet")
    assert found(files, tmp_path) == ["data/train.parquet"]


def test_a_folder_is_listed_once(touch, monkeypatch):
    files = touch("train.parquet", "data/test.csv")
    listed = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scan(path))
    assert "train" in files
    assert "test" in files
    assert "validation" not in files
    assert len(listed) == len(set(listed)) == 2


def test_a_folder_that_cannot_be_read_is_said_so(touch, monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(DataError, match=r"cannot be read: Permission denied; mend it"):
        touch("train.parquet").find("train", "train_split")


def test_a_set_may_be_numbered_from_one(touch, tmp_path):
    names = ["train/0001.parquet", "train/0002.parquet"]
    assert found(touch(*names), tmp_path) == names


HUB = "hf://datasets/owner/name"


@pytest.mark.parametrize(
    "source",
    [HUB, f"{HUB}/", f"{HUB}@main/plain_text", f"{HUB}@~parquet", f"{HUB}/a.b/c-d",
     f"{HUB}@refs%2Fconvert%2Fparquet/default"],
)  # fmt: skip
def test_addresses_of_data_sets_are_taken(source):
    check_address(source)
    assert addresses(source, "train")[0] == f"{source.rstrip('/')}/train-*.parquet"
    assert f"{source.rstrip('/')}/*/train/*.parquet" in addresses(source, "train")
    assert all("*" in address for address in addresses(source, "train"))


def answering(answer):
    """What stands for polars where the hub answers a request for a folder with this."""
    message = (
        "error decoding response: invalid type: map, expected a sequence at line 1 column 0, "
        f"response value: {answer}"
    )

    def scan(*_, **__):
        raise pl.exceptions.ComputeError(message)

    return scan


def test_a_folder_that_the_hub_has_not_holds_no_split(monkeypatch):
    answer = r'{"error":"data does not exist on \"main\""}'
    monkeypatch.setattr(pl, "scan_parquet", answering(answer))
    with pytest.raises(DataError, match=r"no test-\*.parquet .*; set prepare.test_split"):
        SplitFiles(HUB).find("test", "test_split")


def test_a_data_set_that_the_hub_has_not_is_said_to_be_none(monkeypatch):
    answer = '{"error":"Invalid username or password."}'
    monkeypatch.setattr(pl, "scan_parquet", answering(answer))
    with pytest.raises(DataError, match=r"no such data set.*correct prepare.source, or log in"):
        SplitFiles(HUB).find("train", "train_split")


@pytest.mark.parametrize(
    "source",
    ["hf://", "hf://datasets/name", "hf://models/a/b", "hf://datasets/a b/c", "hf://datasets/../..",
     "hf://datasets/a/..", "hf://datasets/./b", f"{HUB}/..", f"{HUB}/../other/x", f"{HUB}/a/./b",
     f"{HUB}/%2e%2e/x", f"{HUB}/a%2F..%2Fb", f"{HUB}@..%2F..", f"{HUB}@%252e%252e%252fx",
     f"{HUB}@../x", f"{HUB}/..\\x", f"{HUB}/a?x=1", f"{HUB}/a#b", f"{HUB}//x", f"{HUB}/*",
     f"{HUB}/[ab]", f"{HUB}/\x1b", "hf://datasets/%2e%2e/b"],
)  # fmt: skip
def test_addresses_that_lead_elsewhere_are_refused_before_any_request(source, monkeypatch):
    def asked(*_, **__):
        raise AssertionError("a request was sent")

    monkeypatch.setattr(pl, "scan_parquet", asked)
    with pytest.raises(ParameterError, match=r"^prepare.source: .*hf://datasets/OWNER/NAME"):
        SplitFiles(source)
