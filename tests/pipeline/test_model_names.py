"""Names of models in a table, and the folders that their results go to."""

import pytest

from crest.errors import ParameterError
from crest.pipeline.model_names import model_names
from crest.pipeline.paths import Paths


def test_folders_of_one_last_part_are_told_apart():
    folders = ["/a/b/bert", "/a/c/bert", "/d/c/bert", "/e/other"]
    assert [*model_names(folders).values()] == ["b/bert", "a/c/bert", "d/c/bert", "other"]
    assert model_names(["/bert", "/a/bert"]) == {"/bert": "/bert", "/a/bert": "a/bert"}


def test_one_folder_has_one_name_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "bert").mkdir(parents=True)
    whole = str(tmp_path / "models" / "bert")
    written = ["models/bert", "models/bert/", "./models/bert/.", whole, f"{whole}/", f"{whole}/."]
    assert set(model_names(written).values()) == {"models/bert"}
    folders = {Paths().reuse(model) for model in written[:3]}
    assert folders == {Paths().root / "artifacts" / "reuse" / "models" / "bert"}
    assert {Paths().reuse(model).name for model in written[3:]} == {"bert"}


def test_names_that_are_no_folders_are_left_as_they_are():
    names = ["convnet", "timm/resnet18", "owner/bert"]
    assert model_names(names) == dict(zip(names, names, strict=True))


@pytest.mark.parametrize("model", [".", "", "../..", "/"])
def test_what_names_no_folder_is_refused(model):
    with pytest.raises(ParameterError, match="is no name of one"):
        Paths().reuse(model)
