"""The files that DVC compares, one for each stage that has inputs from outside."""

import shutil

import pytest

from crest.artifacts import read_json
from crest.errors import DataError, ParameterError
from crest.pipeline.dependencies import COMMAND, LINKS
from crest.pipeline.paths import Paths
from stages import fingerprint
from tests.bad_input import png
from tests.tiny import digits_parameters


@pytest.fixture
def images(tmp_path):
    for number, name in enumerate(("train/ant", "train/bee", "test/ant", "test/bee")):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        (folder / f"{number}.png").write_bytes(png(number))
    return tmp_path / "images"


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path / "project")


def of_folder(images, **sections):
    return digits_parameters(prepare={"dataset": "folder", "source": str(images)}, **sections)


def contents(paths):
    files = sorted(path for path in paths.fingerprint.rglob("*") if path.is_file())
    return {path.relative_to(paths.fingerprint).as_posix(): read_json(path) for path in files}


def test_each_stage_with_inputs_has_a_file(paths, images, tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    model = str(tmp_path / "bert")
    parameters = of_folder(
        images, train={"model": model}, reuse={"models": ["convnet", "owner/bert"]}
    )
    found = fingerprint.run(parameters, paths)
    written = contents(paths)
    names = ["reuse/convnet.json", "reuse/owner/bert.json", "source.json", "train.json"]
    assert list(written) == names
    assert written["source.json"]["folder"]["files"] == 4
    assert written["train.json"]["model"]["files"] == 1
    assert written["reuse/owner/bert.json"]["model"]["files"] is None
    lines = list(fingerprint.notes(found))
    assert lines[0].startswith(f"source: folder: {images}, 4 files, ")
    assert lines[1].startswith(f"train: model: {model}, 1 files, ")
    assert len(lines) == 2
    fingerprint.run(of_folder(images), paths)
    assert list(contents(paths)) == ["source.json", "train.json"]


def test_a_method_without_links_to_its_code_is_refused_with_what_makes_them(paths):
    parameters = digits_parameters(run={"methods": ["glister"]})
    fingerprint.run(parameters, paths)  # without DVC there is no need of them
    (paths.root / "dvc.yaml").touch()
    told = f"deps/train/glister: no such folder, .*; make it with `{COMMAND}`"
    with pytest.raises(ParameterError, match=told):
        fingerprint.run(parameters, paths)
    (paths.root / LINKS / "glister").mkdir(parents=True)
    fingerprint.run(parameters, paths)


def test_the_tokenizers_folder_is_an_input_of_prepare(paths, tmp_path):
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text("{}")
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,label\na,0\nb,1\n")
    text = {"dataset": "text", "source": str(tmp_path), "tokenizer": str(tokenizer)}
    parameters = digits_parameters(prepare=text)
    fingerprint.run(parameters, paths)
    before = contents(paths)["source.json"]
    assert before["tokenizer"]["files"] == 1
    (tokenizer / "tokenizer.json").write_text("{ }")
    fingerprint.run(parameters, paths)
    after = contents(paths)["source.json"]
    assert after["tokenizer"] != before["tokenizer"]
    assert after["text"] == before["text"]


def test_what_is_gone_counts_as_it_was_last_seen(paths, images, tmp_path, caplog):
    """Prepared data that were pulled to another machine stay those of their source."""
    model = tmp_path / "bert"
    model.mkdir()
    (model / "config.json").write_text("{}")
    parameters = of_folder(images, train={"model": str(model)})
    fingerprint.run(parameters, paths)
    before = contents(paths)
    shutil.rmtree(images)
    shutil.rmtree(model)
    fingerprint.run(parameters, paths)
    assert contents(paths) == before
    assert [record.getMessage() for record in caplog.records] == [
        f"{images}: no such folder; set prepare.source to the folder of the data; it counts as it "
        "was last seen",
        f"{model}: no such folder; it counts as it was last seen",
    ]


def test_what_was_never_seen_is_an_error(paths, images, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        fingerprint.run(of_folder(tmp_path / "gone"), paths)
    assert not paths.fingerprint.exists()
    fingerprint.run(of_folder(images), paths)
    with pytest.raises(DataError, match="no such folder"):
        fingerprint.run(of_folder(tmp_path / "gone"), paths)


def test_a_hub_that_does_not_answer_leaves_the_address(paths, caplog):
    remote = {"dataset": "cifar10", "source": "hf://datasets/owner/name"}
    fingerprint.run(digits_parameters(prepare=remote), paths)
    known = contents(paths)["source.json"]["cifar10"]
    assert known["name"] == "hf://datasets/owner/name"
    assert known["files"] is None
    assert "it is known by its address alone" in caplog.text
