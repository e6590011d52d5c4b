"""What may be wrong with image folders."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from tests.bad_input.breaks import as_folder, both, content, cut, gone, moved
from tests.bad_input.case import Case
from tests.bad_input.project import FOLDER, png

# fmt: off

FOLDERS = [
    Case("no training folder", FOLDER,
         "images: no folder 'train'; folders there: test; set prepare.train_split",
         gone("images/train")),
    Case("no test folder of that name", FOLDER + " -S prepare.test_split=test",
         "images: no folder 'test'; folders there: train; set prepare.test_split",
         gone("images/test")),
    Case("no classes in a split", FOLDER,
         "images/test: no folders in it; it needs one for each class, else set prepare.test_share "
         "to hold out a share of train",
         both(gone("images/test/ant"), gone("images/test/bee"))),
    Case("images without classes", FOLDER.replace("source=images", "source=images/test/ant"),
         "images/test/ant: no folders in it; it needs one for each class"),
    Case("a class without images", FOLDER,
         "images/train/bee: no images …; add some or remove the folder",
         both(gone("images/train/bee"), content("images/train/bee/notes.txt", b"?"))),
    Case("one class only", FOLDER,
         "images/train: one class only, 'ant'; it needs a folder for each class, two at least",
         both(gone("images/train/bee"), gone("images/test/bee"))),
    Case("a class only in test", FOLDER,
         "images/test/cow/0.png: the label is 'cow', none of the classes: ant, bee; correct it",
         content("images/test/cow/0.png", png(0))),
    Case("a split that leads elsewhere", f"{FOLDER} -S prepare.train_split=../source",
         "images: no folder '../source'; folders there: test, train; set prepare.train_split"),
    Case("a text file named .png", FOLDER,
         "images/train/bee/3.png: not an image in a known format …; mend or remove the "
         "example", content("images/train/bee/3.png", b"a bee\n")),
    Case("an image file of 0 bytes", FOLDER,
         "images/train/ant/0.png: the image is empty (0 bytes); mend or remove the example",
         content("images/train/ant/0.png", b"")),
    Case("an image file cut short", FOLDER,
         "images/train/bee/3.png: the image cannot be decoded …; mend or remove the example",
         cut("images/train/bee/3.png")),
    Case("an image of another size", FOLDER,
         "images/test/bee/3.png: 4×4 pixels of 3 channels, but images/train/ant/0.png: 8×8 "
         "pixels of 3 channels; set prepare.image_size to make them one size",
         content("images/test/bee/3.png", png(0, (4, 4)))),
    Case("a folder named like an image", FOLDER,
         "images/train/bee/3.png: a folder, though its name is an image's; rename or remove it",
         as_folder("images/train/bee/3.png")),
    Case("a pipe named like an image", FOLDER,
         "images/train/bee/3.png: a pipe, though its name is an image's; rename or remove it",
         both(gone("images/train/bee/3.png"), lambda: os.mkfifo("images/train/bee/3.png"))),
    Case("a link to a device named like an image", FOLDER,
         "images/train/bee/x.png: a device, though its name is an image's; rename or remove it",
         lambda: Path("images/train/bee/x.png").symlink_to("/dev/zero")),
    Case("a link that leads nowhere", FOLDER,
         "images/train/bee/x.png: a link that leads nowhere; mend or remove it",
         lambda: Path("images/train/bee/x.png").symlink_to("gone.png")),
    Case("a class that is a link to another", FOLDER,
         "images/train/cow: a link to images/train/bee, which is listed anyway; remove one",
         lambda: Path("images/train/cow").symlink_to("bee")),
    Case("a class whose name is no UTF-8", FOLDER,
         "images/train/caf\\udce9: the name of this class is no UTF-8; rename the folder",
         lambda: Path("images/train", os.fsdecode(b"caf\xe9")).mkdir()),
    Case("splits of other names", FOLDER,
         "images: folders that look like splits (Test, Train), none of them 'train'; set "
         "prepare.train_split and prepare.test_split, or rename what are classes",
         both(moved("images/train", "images/Train"), moved("images/test", "images/Test"))),
    Case("a folder around the splits", FOLDER.replace("source=images", "source=outer"),
         "outer: one folder only, 'images'; set prepare.source to outer/images if splits or "
         "classes are in there, or add a folder for a second class",
         lambda: shutil.copytree("images", "outer/images")),
    Case("a web page named .png", FOLDER,
         "images/train/bee/3.png: a web page, as a failed download leaves it; download the image "
         "again; mend or remove the example",
         content("images/train/bee/3.png", b"<!DOCTYPE html><html>")),
    Case("images that the disk has no room for", f"{FOLDER} -S prepare.image_size=8",
         "prepare.image_size: 20 images of 8×8 pixels of 3 channels take 3.8 kB, but 1.0 kB are "
         "free where data/prepared lies; lower it, or free some",
         surroundings=lambda: patch("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))),
    Case("files that the disk has no room for",
         f"{FOLDER} -S prepare.image_size=8 -S prepare.storage=encoded",
         "prepare.storage: the files of 20 images take … kB, but 1.0 kB are free where "
         "data/prepared lies; free some, or set prepare.encoded_side to keep large images smaller, "
         "or prepare.storage to pixels, which take 3.8 kB",
         surroundings=lambda: patch("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))),
    Case("columns for an image folder", f"{FOLDER} -S prepare.label_column=label",
         "prepare.label_column: image folders have no columns; leave it null", code=2),
]
