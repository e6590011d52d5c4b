import os
import socket

import pytest

from crest.data.listing import LeftOut, entries, identity, images_below
from crest.errors import DataError


@pytest.fixture
def split(tmp_path):
    """A split of the classes ant and bee, an image in each."""
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "0.png").touch()
    return tmp_path / "train"


def listed(split, name="ant"):
    left_out = LeftOut()
    known = {identity(folder) for folder in (split, split / "ant", split / "bee")}
    found = images_below(split / name, split, known, left_out)
    return [str(path.relative_to(split)) for path in found], left_out


def test_images_come_in_the_order_of_their_paths_at_any_depth(split):
    for name in ("b/1.png", "a/z/2.png", "a.png", "a/1.png"):
        (split / "ant" / name).parent.mkdir(parents=True, exist_ok=True)
        (split / "ant" / name).touch()
    found, left_out = listed(split)
    assert found == sorted(found, key=lambda name: name.split("/"))
    assert found == [
        "ant/0.png",
        "ant/a/1.png",
        "ant/a/z/2.png",
        "ant/a.png",
        "ant/b/1.png",
    ]
    assert str(left_out) == ""


def test_every_usual_ending_is_read_in_any_case(split):
    endings = "JPG jpeg jpe JFIF bmp dib gif png APNG ppm pgm pbm pnm tif TIFF webp avif jp2 j2k"
    for ending in endings.split():
        (split / "ant" / f"x.{ending}").touch()
    found, _ = listed(split)
    assert len(found) == 1 + len(endings.split())


def test_what_is_left_out_is_counted_by_its_ending(split):
    for name in ("a.txt", "b.TXT", "c.heic", "none", "d.csv"):
        (split / "ant" / name).touch()
    found, left_out = listed(split)
    assert found == ["ant/0.png"]
    assert [*left_out.notes()] == [
        "left out: 1 .csv, 1 .heic, 2 .txt, 1 without an ending",
        "warning: left out with them, images of kinds that are not read (.heic); save them as PNG "
        "or JPEG to have them",
    ]


def test_hidden_entries_are_left_out_at_every_depth_and_litter_is_no_matter(split):
    for name in (
        ".ipynb_checkpoints/0.png",
        "sub/.hidden/1.png",
        "sub/._2.png",
        "__MACOSX/3.png",
        "@eaDir/4.png",
        "Thumbs.db",
        ".DS_Store",
        "sub/desktop.ini",
    ):
        (split / "ant" / name).parent.mkdir(parents=True, exist_ok=True)
        (split / "ant" / name).touch()
    found, left_out = listed(split)
    assert found == ["ant/0.png"]
    assert str(left_out) == "5 hidden"


def test_links_within_the_split_are_not_followed_and_others_are(split, tmp_path):
    (tmp_path / "pool" / "more").mkdir(parents=True)
    (tmp_path / "pool" / "more" / "1.png").touch()
    (tmp_path / "pool" / "again").symlink_to(tmp_path / "pool")
    (split / "ant" / "parent").symlink_to("..")
    (split / "ant" / "root").symlink_to(tmp_path)
    (split / "ant" / "bees").symlink_to("../bee")
    (split / "ant" / "pool").symlink_to(tmp_path / "pool")
    (split / "ant" / "self").symlink_to("self")
    (split / "ant" / "2.png").symlink_to(tmp_path / "pool" / "more" / "1.png")
    left_out = LeftOut()
    known = {identity(folder) for folder in (tmp_path, split, split / "ant", split / "bee")}
    found = images_below(split / "ant", split, known, left_out)
    assert [str(path.relative_to(split)) for path in found] == [
        "ant/0.png",
        "ant/2.png",
        "ant/pool/more/1.png",
    ]
    assert str(left_out) == "1 without an ending, 4 links to folders that are listed anyway"


def socket_at(path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "a pipe, though its name is an image's; rename or remove it"),
        (os.mkdir, "a folder, though its name is an image's"),
        (socket_at, "a socket, though its name is an image's"),
        (lambda path: path.symlink_to("/dev/zero"), "a device, though its name is an image's"),
        (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere; mend or remove it"),
        (lambda path: path.symlink_to(path.name), "a link that leads nowhere"),
        (lambda path: path.symlink_to(path.parent), "a folder, though its name is an image's"),
    ],
)
def test_what_is_named_like_an_image_but_is_none_is_refused(split, make, message, monkeypatch):
    monkeypatch.chdir(split)  # a socket's path may be 107 bytes long
    path = split / "ant" / "x.png"
    make(path if make is not socket_at else path.relative_to(split))
    with pytest.raises(DataError, match=f"ant/x.png: {message}"):
        listed(split)


def test_a_folder_that_may_not_be_read_is_said_to_be_so(split, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match=r"train: cannot be read: no permission; allow it \(chmod"):
        entries(split, LeftOut())
