import numpy as np
import polars as pl
import pytest

from crest.data.build import build
from crest.data.datasets import open_source
from crest.data.origins import Origin, columns_in, source_of, sources_of, with_sources
from crest.errors import ArtifactError, ParameterError
from crest.parameters.sections import PrepareParameters


@pytest.fixture
def prepared(write_source, tmp_path):
    """Twenty-four training images in two files, of which some are held out."""
    source = write_source(tmp_path / "source")
    whole = pl.read_parquet(source / "train-00000-of-00001.parquet")
    (source / "train-00000-of-00001.parquet").unlink()
    for number, part in enumerate((whole[:10], whole[10:])):
        part.write_parquet(source / f"train-0000{number}-of-00002.parquet")
    params = PrepareParameters(dataset="parquet", source=str(source), validation=0.25)
    folder = tmp_path / "prepared"
    folder.mkdir()
    build(open_source(params), params, folder, lambda done: None)
    return folder


def test_every_example_leads_back_to_its_row(prepared, pixels):
    found = {}
    for split in ("train", "validation"):
        images = np.load(prepared / f"{split}_images.npy")
        for index, image in enumerate(images):
            origin = source_of(prepared, split, index)
            row = origin.row + (10 if "00001-of" in origin.file else 0)
            assert np.array_equal(image, pixels[row])
            found[row] = origin
    assert sorted(found) == list(range(24))
    assert str(found[11]).endswith("train-00001-of-00002.parquet, row 1 (counted from 0)")


def test_files_of_one_image_have_no_row(tmp_path, pixels, encode):
    for number in range(6):
        path = tmp_path / "source" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(encode(pixels[number]))
    params = PrepareParameters(
        dataset="folder", source=str(tmp_path / "source"), validation=0.0, test_share=0.4
    )
    (tmp_path / "out").mkdir()
    build(open_source(params), params, tmp_path / "out", lambda done: None)
    for split in ("train", "test"):
        for index, image in enumerate(np.load(tmp_path / "out" / f"{split}_images.npy")):
            origin = source_of(tmp_path / "out", split, index)
            assert origin.row is None
            assert np.array_equal(image, pixels[int(origin.file[-5])])


def test_the_frame_has_all_rows(prepared):
    frame = sources_of(prepared, "train")
    assert len(frame) == 18
    assert Origin(*frame.row(3)) == source_of(prepared, "train", 3)


def test_a_table_gets_the_places_of_its_rows_in_its_own_order(prepared):
    table = pl.DataFrame({"index": [17, 3, 3], "score": [0.5, 0.25, 0.0]})
    found = with_sources(table, prepared)
    assert found.columns == ["index", "score", "file", "row"]
    places = [Origin(*place) for place in found.select("file", "row").rows()]
    assert places == [source_of(prepared, "train", index) for index in (17, 3, 3)]
    assert with_sources(found, prepared).equals(found)
    assert columns_in(found) == {"file": pl.String, "row": pl.Int64}


def test_without_prepared_data_a_table_stays_as_it_is():
    table = pl.DataFrame({"index": [1]})
    assert with_sources(table, None).equals(table)
    assert columns_in(table) == {}


@pytest.mark.parametrize("index", [-1, 18])
def test_an_example_that_is_not_there_is_refused(prepared, index):
    with pytest.raises(
        ParameterError, match=rf"index: {index} is none of the 18 examples of train"
    ):
        source_of(prepared, "train", index)


def test_another_file_is_not_taken_for_it(prepared):
    other = prepared / "validation_sources.parquet"
    other.rename(prepared / "train_sources.parquet")
    with pytest.raises(ArtifactError, match=r"train_sources.parquet: damaged \(it is other than"):
        source_of(prepared, "train", 0)
    with pytest.raises(ArtifactError, match=r"validation_sources.parquet"):
        source_of(prepared, "validation", 0)
