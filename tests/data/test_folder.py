import os

import pytest

from crest.data.datasets import open_source
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters


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


def test_long_files_come_fewer_at_once(tree, monkeypatch):
    monkeypatch.setattr("crest.data.folder.BATCH_BYTES", 1)
    assert [len(batch) for batch in open_tree(tree).train.examples()] == [1] * 6


def test_splits_can_have_other_names(tree):
    (tree / "test").rename(tree / "held")
    assert len(open_tree(tree, test_split="held").test) == 2
    with pytest.raises(DataError, match=r"no folder 'test'; folders there: held, train; set prep"):
        open_tree(tree, test_split="test")


def test_a_class_without_images_is_refused(tree):
    (tree / "train" / "bee").mkdir()
    with pytest.raises(DataError, match=r"bee: no images"):
        open_tree(tree)


def test_a_split_without_classes_is_refused_and_the_advice_works(tree):
    for image in ("0.png", "1.png"):
        (tree / "train" / "cat" / image).rename(tree / f"unlabelled-{image}")
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no folders in it; .* else set prepare.test_share"):
        open_tree(tree, test_split="empty")
    assert open_tree(tree, test_share=0.5).test is None
    with pytest.raises(DataError, match=r"train/cat: no folders .* else leave prepare.train_spl"):
        open_tree(tree / "train", train_split="cat")
    assert set(open_tree(tree / "train").train.class_names) == {"ape", "cat"}
    with pytest.raises(DataError, match=r"train/cat: no folders in it; it needs one for each cla"):
        open_tree(tree / "train" / "cat")


def test_an_unreadable_file_is_named(tree, monkeypatch):
    train = open_tree(tree).train
    (tree / "train" / "ape" / "1.png").unlink()
    with pytest.raises(DataError, match=r"ape/1.png: cannot be read: No such file or directory"):
        list(train.examples())

    def refuse(path, flags):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(DataError, match=r"ape/0.png: cannot be read: no permission; allow it"):
        list(train.examples())


def test_a_file_that_became_a_pipe_is_not_waited_for(tree):
    train = open_tree(tree).train
    (tree / "train" / "ape" / "1.png").unlink()
    os.mkfifo(tree / "train" / "ape" / "1.png")
    with pytest.raises(DataError, match=r"ape/1.png: a pipe, though its name is an image's"):
        list(train.examples())


def test_a_file_larger_than_the_memory_is_refused(tree, monkeypatch):
    train = open_tree(tree).train
    with (tree / "train" / "ape" / "1.png").open("wb") as file:
        file.truncate(2**40)
    monkeypatch.setattr("crest.data.folder.memory", lambda: 10**9)
    with pytest.raises(DataError, match=r"ape/1.png: 1.1 TB, more than half of the memory"):
        list(train.examples())


# ---------------------------------------------------------------------------------------- layouts


@pytest.fixture
def flat(tree):
    """The classes of the training split alone."""
    return tree / "train"


def test_a_folder_of_classes_is_all_training_data(flat):
    source = open_tree(flat)
    assert list(source.splits) == ["train"]
    assert source.train.labels().to_list() == ["ape"] * 3 + ["cat"] * 3
    assert source.train.example_at(4) == str(flat / "cat" / "1.png")
    assert source.notes == ()


@pytest.mark.parametrize("name", ["train", "test", "val", "dev"])
def test_a_class_may_be_called_like_a_split(flat, name):
    (flat / "cat").rename(flat / name)
    assert set(open_tree(flat).train.class_names) == {"ape", name}


def test_a_split_without_test_data_is_all_training_data(tree):
    (tree / "test").rename(tree / "extra")
    source = open_tree(tree)
    assert list(source.splits) == ["train"]
    assert source.notes == ("not read, being neither training nor test data: extra",)


@pytest.mark.parametrize("names", [("Train", "Test"), ("seg_train", "seg_test"), ("train_2", "b")])
def test_folders_like_splits_are_not_taken_for_classes_and_the_advice_works(tree, names):
    for old, new in zip(("train", "test"), names, strict=True):
        (tree / old).rename(tree / new)
    with pytest.raises(DataError, match=r"folders that look like splits .* set prepare.train_spl"):
        open_tree(tree)
    source = open_tree(tree, train_split=names[0], test_split=names[1])
    assert [len(split) for split in source.splits.values()] == [6, 2]


def test_a_folder_around_the_source_is_named_and_the_advice_works(tree, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    (outer / "inner").symlink_to(tree)
    with pytest.raises(
        DataError, match=f"one folder only, 'inner'; set prepare.source to {outer}/i"
    ):
        open_tree(outer)
    assert len(open_tree(outer / "inner").train) == 6


def test_images_beside_the_classes_are_told(tree):
    for name in ("a.png", "train/b.JPG", "train/notes.md", "README.md"):
        (tree / name).touch()
    assert open_tree(tree).notes == (
        "left out: 2 .md",
        "warning: left out, images outside the folders of classes: 2; move them into their "
        "classes' folders to have them",
    )


def test_what_is_left_out_of_all_classes_is_told_together(tree):
    for name in ("train/ape/a.txt", "train/cat/b.txt", "test/cat/.hidden.png"):
        (tree / name).touch()
    assert open_tree(tree).notes == ("left out: 2 .txt, 1 hidden",)


@pytest.mark.parametrize(
    ("names", "expected_note"),
    [
        (["1", "2", "10"], "1 is '10', not '2'"),
        (["01", "02", "10"], None),
        (["0", "9"], None),
        (["1", "2", "ten"], None),
        (["2", "02", "10"], "1 is '10', not '2'"),
    ],
)
def test_numbers_in_another_order_than_expected_are_told(tmp_path, names, expected_note):
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").touch()
    noted = open_tree(tmp_path).notes
    assert bool(noted) == bool(expected_note)
    assert not expected_note or expected_note in noted[0]


# ------------------------------------------------------------------------------------------ links


def test_a_class_may_be_a_link(tree, tmp_path_factory):
    pool = tmp_path_factory.mktemp("pool")
    (tree / "train" / "cat").rename(pool / "cat")
    (tree / "train" / "cat").symlink_to(pool / "cat")
    source = open_tree(tree)
    assert source.train.labels().to_list() == ["ape"] * 3 + ["cat"] * 3


def test_two_classes_or_splits_of_one_folder_are_refused(tree):
    (tree / "train" / "dog").symlink_to("cat")
    with pytest.raises(DataError, match=r"train/dog: a link to .*train/cat, which is listed anywa"):
        open_tree(tree)
    (tree / "train" / "dog").unlink()
    (tree / "val").symlink_to("train")
    with pytest.raises(DataError, match=r"val: a link to 'train', which is another split; remove"):
        open_tree(tree, test_split="val")


def test_links_in_circles_count_nothing_twice(tree):
    for place, target in (("train/cat/up", ".."), ("train/cat/top", "../.."), ("all", ".")):
        (tree / place).symlink_to(target)
    source = open_tree(tree)
    assert len(source.train) == 6
    assert source.notes[0] == "left out: 2 links to folders that are listed anyway"


# ------------------------------------------------------------------------------------------ names


def test_a_class_whose_name_is_no_utf8_is_refused_and_a_file_is_read(tree, encode, pixels):
    name = os.fsdecode(b"caf\xe9.png")
    (tree / "train" / "cat" / name).write_bytes(encode(pixels[0]))
    source = open_tree(tree)
    assert len(source.train) == 7
    (tree / "train" / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(DataError, match="the name of this class is no UTF-8; rename the folder"):
        open_tree(tree)


def test_columns_are_refused(tree):
    with pytest.raises(ParameterError, match=r"^prepare.image_column: image folders have no"):
        open_tree(tree, image_column="image")
