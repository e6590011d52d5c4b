import pytest

from crest.data.datasets import DATASETS, find_dataset, open_source
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters


def test_an_unknown_data_set_is_answered_with_the_known_and_the_nearest():
    message = "'cifar1O' is not one of digits, .*, text; did you mean 'cifar10'"
    with pytest.raises(ParameterError, match=f"^prepare.dataset: {message}"):
        find_dataset(PrepareParameters(dataset="cifar1O"))


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"digits"}))
@pytest.mark.parametrize("source", [None, ""])
def test_a_data_set_that_is_not_bundled_needs_a_source(name, source):
    with pytest.raises(ParameterError, match=f"^prepare.source: {name} needs one: "):
        open_source(PrepareParameters(dataset=name, source=source))


def test_bundled_data_take_no_source():
    with pytest.raises(ParameterError, match=r"^prepare.source: digits is bundled"):
        open_source(PrepareParameters(source="somewhere"))


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"digits", "listed"}))
def test_a_missing_folder_is_named(name, tmp_path):
    with pytest.raises(DataError, match=r"absent: no such folder; set prepare.source"):
        open_source(PrepareParameters(dataset=name, source=str(tmp_path / "absent")))


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match=r"is a file, not a folder"):
        open_source(PrepareParameters(dataset="parquet", source=str(file)))


@pytest.mark.parametrize("name", ["parquet", "tinyimagenet", "folder"])
@pytest.mark.parametrize("source", ["https://example.org/data", "s3://bucket", "torchvision"])
def test_no_other_address_is_read(name, source):
    with pytest.raises(ParameterError, match=r"^prepare.source: .*cannot be read from there"):
        open_source(PrepareParameters(dataset=name, source=source))
