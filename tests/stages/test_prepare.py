import errno

import pytest
import torch

from crest.config import PrepareParameters
from crest.data.prepared import load
from crest.errors import ArtifactError, DataError, ParameterError
from stages import prepare


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
        "train_images.npy",
        "train_labels.npy",
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

    monkeypatch.setattr("crest.data.build.ArrayFile.append", full)
    with pytest.raises(ArtifactError, match=r"prepared: cannot be written: .*No space left"):
        prepare.run(PrepareParameters(), tmp_path / "prepared")
    assert names(tmp_path) == []


def test_bad_parameters_leave_nothing_behind(tmp_path):
    with pytest.raises(ParameterError, match=r"^prepare\.dataset"):
        prepare.run(PrepareParameters(dataset="digit"), tmp_path / "prepared")
    assert names(tmp_path) == []
