import numpy as np
import pytest

from crest.config import PrepareParameters
from crest.data import open_source
from crest.errors import DataError, ParameterError


@pytest.fixture
def tree(tmp_path, pixels, encode):
    """Two classes of three images for training, one each for testing."""
    for split, count in (("train", 3), ("test", 1)):
        for number, name in enumerate(("cat", "ape")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for image in range(count):
                content = encode(pixels[3 * number + image])
                (folder / f"{image}.png").write_bytes(content)
    return tmp_path


def open_tree(tree, **params):
    return open_source(PrepareParameters(dataset="folder", source=str(tree), **params))


def test_images_come_class_by_class(tree, encode, pixels):
    train = open_tree(tree).train
    assert train.labels().to_list() == ["ape"] * 3 + ["cat"] * 3
    [contents] = train.examples()
    assert contents == [encode(pixels[row]) for row in (3, 4, 5, 0, 1, 2)]
    assert train.example_at(4) == train.label_at(4) == str(tree / "train" / "cat" / "1.png")


def test_other_and_hidden_files_are_left_out_and_deeper_ones_found(tree):
    (tree / "train" / "cat" / "notes.txt").touch()
    (tree / "train" / ".hidden").mkdir()
    deeper = tree / "train" / "cat" / "more"
    deeper.mkdir()
    (tree / "train" / "cat" / "0.png").rename(deeper / "0.JPEG")
    assert len(open_tree(tree).train) == 6


def test_batches_cover_all_files(tree):
    train = open_tree(tree).train
    small = type(train)(train.files, train.class_names, batch=4)
    assert [len(batch) for batch in small.examples()] == [4, 2]


def test_splits_can_have_other_names(tree):
    (tree / "test").rename(tree / "held")
    assert len(open_tree(tree, test_split="held").test) == 2
    with pytest.raises(DataError, match=r"no folder 'test'; folders there: held, train; set prep"):
        open_tree(tree, test_split="test")


def test_a_class_without_images_is_refused(tree):
    (tree / "train" / "bee").mkdir()
    with pytest.raises(DataError, match=r"bee: no images"):
        open_tree(tree)


def test_a_split_without_classes_is_refused(tree):
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no folders in it; it needs one for each class"):
        open_tree(tree, test_split="empty")


def test_an_unreadable_file_is_named(tree):
    train = open_tree(tree).train
    (tree / "train" / "ape" / "1.png").unlink()
    with pytest.raises(DataError, match=r"ape/1.png: cannot be read"):
        np.concatenate(list(train.examples()))


def test_columns_are_refused(tree):
    with pytest.raises(ParameterError, match=r"^prepare.image_column: image folders have no"):
        open_tree(tree, image_column="image")
