"""What may be wrong with image folders."""

from tests.bad_input.breaks import as_folder, both, content, cut, gone
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
         "images/test: no folders in it; it needs one for each class",
         both(gone("images/test/ant"), gone("images/test/bee"))),
    Case("a class without images", FOLDER,
         "images/train/bee: no images …; add some or remove the folder",
         both(gone("images/train/bee"), content("images/train/bee/notes.txt", b"?"))),
    Case("one class only", FOLDER,
         "images/train/ant/0.png: all labels are the same; add examples of a second class",
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
         "images/train/bee/3.png: cannot be read: Is a directory; mend or remove it",
         as_folder("images/train/bee/3.png")),
    Case("columns for an image folder", f"{FOLDER} -S prepare.label_column=label",
         "prepare.label_column: image folders have no columns; leave it null", code=2),
]
