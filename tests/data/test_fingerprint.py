"""What identifies an input: the names and contents of what is read of it, and nothing else."""

import json
import os
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest

from crest.data.datasets import open_source
from crest.data.fingerprint import (
    UnseenError,
    _opened,
    folder_fingerprint,
    source_fingerprint,
)
from crest.data.hashes import Hashes
from crest.errors import DataError
from crest.parameters.sections import PrepareParameters

ROWS = {"text": ["one", "two"], "label": [0, 1]}


@pytest.fixture
def hashes(tmp_path):
    return Hashes(tmp_path / "hashes.json")


@pytest.fixture
def images(tmp_path, pixels, encode):
    for number, name in enumerate(("train/ant", "train/bee", "test/ant", "test/bee")):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for place in range(2):
            content = encode(pixels[(2 * number + place) % len(pixels)])
            (folder / f"{number}{place}.png").write_bytes(content)
    return tmp_path / "images"


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for split in ("train", "test"):
        pl.DataFrame(ROWS).write_csv(folder / f"{split}.csv")
    return folder


def of_images(folder, hashes, **more):
    params = PrepareParameters(dataset="folder", source=str(folder), **more)
    return source_fingerprint(params, hashes)


def test_a_list_is_told_by_itself_and_the_images_that_it_lists(images, hashes):
    listing = images / "list.csv"
    rows = "image,label\ntrain/ant/00.png,ant\ntrain/bee/10.png,bee\n"
    listing.write_text(rows)
    params = PrepareParameters(dataset="listed", source=str(listing))
    before = source_fingerprint(params, hashes)
    assert before.files == 3
    (images / "train" / "ant" / "01.png").write_bytes(b"not listed")
    assert source_fingerprint(params, hashes) == before
    (images / "train" / "ant" / "00.png").write_bytes(b"other")
    changed = source_fingerprint(params, hashes)
    assert changed.sha256 != before.sha256
    listing.write_text(rows.replace("ant\n", "bee\n"))
    assert source_fingerprint(params, hashes).sha256 != changed.sha256
    listing.unlink()
    with pytest.raises(UnseenError, match=r"list.csv: no such file"):
        source_fingerprint(params, hashes)


def of_texts(folder, hashes, **more):
    return source_fingerprint(
        PrepareParameters(dataset="text", source=str(folder), tokenizer="bert", **more), hashes
    )


def test_what_is_not_read_does_not_count(images, hashes, tmp_path):
    before = of_images(images, hashes)
    assert before.files == 8
    (images / ".DS_Store").write_bytes(b"finder")
    (images / "train" / "bee" / ".DS_Store").write_bytes(b"finder")
    (images / "train" / "bee" / "Thumbs.db").write_bytes(b"explorer")
    (images / "train" / "bee" / "notes.txt").write_bytes(b"?")
    (images / "elsewhere").mkdir()
    for path in images.rglob("*.png"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert of_images(images, hashes) == before
    images.rename(tmp_path / "moved")
    moved = of_images(tmp_path / "moved", hashes)
    assert (moved.sha256, moved.files, moved.size) == (before.sha256, before.files, before.size)


@pytest.mark.parametrize("kept_dates", [False, True])
@pytest.mark.parametrize("remembered", [False, True])
def test_every_change_of_what_is_read_counts(images, tmp_path, kept_dates, remembered):
    """Also one that leaves size and date as they were, and where files' hashes are remembered."""

    def fingerprint_now():
        hashes = Hashes(tmp_path / "hashes.json")
        found = of_images(images, hashes)
        if remembered:
            hashes.save()
        return found.sha256

    seen = [fingerprint_now()]
    path = images / "train" / "ant" / "00.png"
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    if kept_dates:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    seen.append(fingerprint_now())
    path.write_bytes(content)
    assert fingerprint_now() == seen[0]
    path.rename(images / "train" / "bee" / "00.png")
    seen.append(fingerprint_now())
    (images / "train" / "bee" / "00.png").rename(images / "train" / "ant" / "02.png")
    seen.append(fingerprint_now())
    (images / "test" / "ant" / "20.png").unlink()
    seen.append(fingerprint_now())
    assert len(set(seen)) == len(seen)


def test_a_file_that_has_not_changed_is_not_read_again(images, tmp_path, monkeypatch):
    monkeypatch.setattr("crest.data.hashes.SETTLED_NS", 0)
    first = Hashes(tmp_path / "hashes.json")
    before = of_images(images, first)
    first.save()
    changed = images / "train" / "ant" / "00.png"
    changed.write_bytes(changed.read_bytes() + b"\0")
    again = Hashes(tmp_path / "hashes.json")
    read: list[Path] = []
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: read.append(path) or opened(path, mode))
    assert of_images(images, again).size == before.size + 1
    assert read == [changed]


def test_a_file_written_just_now_is_read_again(images, tmp_path):
    hashes = Hashes(tmp_path / "hashes.json")
    of_images(images, hashes)
    hashes.save()
    assert json.loads((tmp_path / "hashes.json").read_text())["files"] == {}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"version": 1}', '{"version": 1, "files": {"a": 3}}']
)
def test_damaged_notes_cost_time_only(images, tmp_path, content):
    expected = of_images(images, Hashes(tmp_path / "none.json"))
    (tmp_path / "hashes.json").write_text(content)
    assert of_images(images, Hashes(tmp_path / "hashes.json")) == expected


def test_the_tree_is_opened_again_only_where_it_has_changed(images, tmp_path):
    first = Hashes(tmp_path / "hashes.json")
    of_images(images, first)
    first.save()
    with patch("crest.data.fingerprint.open_source", side_effect=open_source) as opened:
        again = Hashes(tmp_path / "hashes.json")
        of_images(images, again)
        assert opened.call_count == 0
        of_images(images, again, classes=2)
        assert opened.call_count == 1
        (images / "train" / "ant" / "9.txt").touch()
        of_images(images, again)
        assert opened.call_count == 2


def test_the_cells_of_a_csv_count_and_other_files_do_not(texts, hashes):
    before = of_texts(texts, hashes)
    (texts / "validation.csv").write_text("text,label\n")
    (texts / "README.md").write_text("texts")
    assert of_texts(texts, hashes) == before
    text = (texts / "train.csv").read_text()
    (texts / "train.csv").write_text(text.replace("one", "won"))
    assert of_texts(texts, hashes) != before


def test_the_shards_of_the_splits_count(tmp_path, hashes):
    (tmp_path / "data").mkdir()
    for name in ("train-00000-of-00001", "test-00000-of-00001", "validation-00000-of-00001"):
        pl.DataFrame(ROWS).write_parquet(tmp_path / "data" / f"{name}.parquet")
    before = of_texts(tmp_path, hashes)
    assert before.files == 2
    pl.DataFrame(ROWS | {"label": [1, 0]}).write_parquet(
        tmp_path / "data" / "validation-00000-of-00001.parquet"
    )
    assert of_texts(tmp_path, hashes) == before
    pl.DataFrame(ROWS | {"label": [1, 0]}).write_parquet(
        tmp_path / "data" / "train-00000-of-00001.parquet"
    )
    assert of_texts(tmp_path, hashes) != before


def test_what_is_listed_is_what_the_readers_hold(images, texts):
    for params, folder in (
        (PrepareParameters(dataset="folder", source=str(images)), images),
        (PrepareParameters(dataset="text", source=str(texts), tokenizer="bert"), texts),
    ):
        source = open_source(params)
        held = {Path(file) for split in (source.train, source.test) for file in split.files}
        assert {folder / name for name in _opened(params, folder)} == held


def test_links_lead_to_what_counts(images, hashes, tmp_path):
    before = of_images(images, hashes)
    (tmp_path / "link").symlink_to(images)
    assert of_images(tmp_path / "link", hashes).sha256 == before.sha256
    elsewhere = tmp_path / "elsewhere"
    (images / "train" / "bee").rename(elsewhere)
    (images / "train" / "bee").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(images)
    of_images(images, hashes)
    (elsewhere / "10.png").unlink()
    assert of_images(images, hashes) != before


def test_bundled_data_are_told_by_their_file_and_archives_by_their_name(hashes):
    digits = source_fingerprint(PrepareParameters(), hashes)
    assert (digits.name, digits.files) == ("sklearn", 1)
    archive = PrepareParameters(dataset="cifar10", source="torchvision")
    assert source_fingerprint(archive, hashes).sha256 is None


def test_a_source_that_is_not_there_says_so(tmp_path, hashes):
    with pytest.raises(UnseenError, match=r"gone: no such folder; set prepare\.source"):
        of_images(tmp_path / "gone", hashes)


def test_what_is_no_data_says_what_opening_it_says(images, hashes):
    for path in (images / "test").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="no images"):
        of_images(images, hashes)


def test_a_pipe_among_the_files_is_not_waited_for(texts, hashes):
    os.mkfifo(texts / "pipe.json")
    before = folder_fingerprint(str(texts), hashes, weights=True)
    assert before.files == 0


def test_a_models_folder_is_told_by_its_files(tmp_path, hashes):
    for name, content in (("config.json", "{}"), ("model.safetensors", "w"), ("README.md", "?")):
        (tmp_path / name).write_text(content)
    model = folder_fingerprint(str(tmp_path), hashes, weights=True)
    tokenizer = folder_fingerprint(str(tmp_path), hashes, weights=False)
    assert (model.files, tokenizer.files) == (2, 1)
    (tmp_path / "model.safetensors").write_text("v")
    assert folder_fingerprint(str(tmp_path), hashes, weights=True) != model
    assert folder_fingerprint(str(tmp_path), hashes, weights=False) == tokenizer
    assert folder_fingerprint("owner/bert", hashes, weights=True).files is None


def on_the_hub(**contents):
    """Answer for a repository with these files."""
    return {
        f"datasets/owner/name/data/{name}.parquet": {"size": 4, "blob_id": content}
        for name, content in contents.items()
    } | {"datasets/owner/name/README.md": {"size": 9, "blob_id": "readme"}}


def test_a_source_on_the_hub_is_told_by_what_the_hub_calls_its_files(hashes):
    params = PrepareParameters(dataset="cifar10", source="hf://datasets/owner/name")
    with patch("huggingface_hub.HfFileSystem.find") as find:
        find.return_value = on_the_hub(train="a", test="b")
        before = source_fingerprint(params, hashes)
        assert before.files == 2
        find.return_value["datasets/owner/name/README.md"]["blob_id"] = "another"
        assert source_fingerprint(params, hashes) == before
        find.return_value = on_the_hub(train="a", test="c")
        assert source_fingerprint(params, hashes) != before
        large = on_the_hub(train="a", test="pointer")
        large["datasets/owner/name/data/test.parquet"]["lfs"] = {"sha256": "b"}
        find.return_value = large
        assert source_fingerprint(params, hashes) == before


def test_a_hub_that_does_not_answer_says_so(hashes):
    params = PrepareParameters(dataset="cifar10", source="hf://datasets/owner/name")
    with (
        patch("huggingface_hub.HfFileSystem.find", side_effect=ValueError("no route\nat all")),
        pytest.raises(UnseenError, match=r"name: cannot be asked for \(no route\)"),
    ):
        source_fingerprint(params, hashes)
