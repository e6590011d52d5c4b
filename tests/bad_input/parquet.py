"""What may be wrong with Parquet files of images."""

from pathlib import Path

from tests.bad_input.breaks import (
    bomb,
    both,
    columns,
    content,
    cut,
    deep_png,
    empty,
    first_rows,
    gone,
    row,
    twice_named,
    zeros,
)
from tests.bad_input.case import Case
from tests.bad_input.project import ROWS, TEST, TRAIN, png

IMAGE_7 = "source/train.parquet, column 'image', row 7 …"

# fmt: off

PARQUET = [
    Case("no source", "prepare -S prepare.source=null",
         "prepare.source: parquet needs one: a folder of Parquet files, or "
         "hf://datasets/OWNER/NAME", code=2),
    Case("a folder that is not there", "prepare -S prepare.source=nowhere",
         "nowhere: no such folder; set prepare.source to the folder of the data"),
    Case("a folder whose name is too long", f"prepare -S prepare.source={'x' * 300}",
         "…: cannot be a folder …; set prepare.source to the folder of the data"),
    Case("a folder of nobody's home", "prepare -S prepare.source=~nobody-of-that-name/data",
         "~nobody-of-that-name/data: cannot be a folder …; set prepare.source to the folder "
         "of the data"),
    Case("a split that leads elsewhere", "prepare -S prepare.train_split=../train",
         "prepare.train_split: '../train' cannot be the name of a split's files", code=2),
    Case("a file for a folder", "prepare -S prepare.source=source/train.parquet",
         "source/train.parquet: is a file, not a folder; set prepare.source to the folder of"
         " the data"),
    Case("an address of another kind", "prepare -S prepare.source=https://example.com/data",
         "prepare.source: https://example.com/data: this data set cannot be read from there;"
         " name a folder", code=2),
    Case("a hub address cut short", "prepare -S prepare.source=hf://datasets/name",
         "prepare.source: hf://datasets/name: write it as hf://datasets/OWNER/NAME, with "
         "/FOLDER for one of several configurations", code=2),
    Case("no Parquet files", "prepare",
         "source: no train-*.parquet or train.parquet; Parquet files there: none; set "
         "prepare.train_split", both(gone(TRAIN), gone(TEST))),
    Case("no training split", "prepare",
         "source: no train-*.parquet or train.parquet; Parquet files there: test.parquet; "
         "set prepare.train_split", gone(TRAIN)),
    Case("no test split of that name", "prepare -S prepare.test_split=test",
         "source: no test-*.parquet or test.parquet; Parquet files there: train.parquet; set"
         " prepare.test_split, or set it to null to hold out a share of train", gone(TEST)),
    Case("a test split that is the training split", "prepare -S prepare.test_split=train",
         "prepare.test_split: 'train' is what prepare.train_split takes; a split serves one "
         "purpose: name another, or leave it null", code=2),
    Case("a test split and a share of train for it",
         "prepare -S prepare.test_split=test -S prepare.test_share=0.2",
         "prepare.test_share: the test split is 'test' (prepare.test_split); set one of the two to "
         "null", code=2),
    Case("no two examples of a class to hold one out of", "prepare",
         "prepare.test_share: no class has two examples, of which one could be held out for test; "
         "name a test split with prepare.test_split",
         both(gone(TEST), first_rows(TRAIN, 3)), code=2),
    Case("one shard of two", "prepare",
         "source: not one whole set of 2 files, but train-00000-of-00002.parquet; download "
         "what is missing and remove what is left over",
         both(gone(TRAIN), columns(Path("source/train-00000-of-00002.parquet")))),
    Case("a truncated file", "prepare",
         "source/train.parquet: not a whole Parquet file …; get it again", cut(TRAIN)),
    Case("a file cut in its last byte", "prepare",
         "source/train.parquet: not a whole Parquet file …; get it again", cut(TRAIN, 0.9999)),
    Case("a file of 0 bytes", "prepare",
         "source/train.parquet: not a whole Parquet file …; get it again", cut(TRAIN, 0.0)),
    Case("a CSV file named .parquet", "prepare",
         "source/train.parquet: not a whole Parquet file …; get it again",
         content(TRAIN, b"image,label\n" * 9)),
    Case("zeros in the middle", "prepare",
         "source/train.parquet, column 'image', near row 0 …: not a whole Parquet file …; "
         "get it again", zeros(TRAIN, 20, 4000)),
    Case("no image column", "prepare",
         "source/train.parquet: no column 'image'; its columns: label; set "
         "prepare.image_column", columns(image=None)),
    Case("no label column", "prepare",
         "source/train.parquet: no column 'label'; its columns: image; set "
         "prepare.label_column", columns(label=None)),
    Case("another image column in test", "prepare",
         "source/test.parquet: no column 'image'; its columns: label, picture; set "
         "prepare.image_column", columns(TEST, image=None, picture=[png(0)] * 12)),
    Case("a column name of two lines", "prepare",
         "source/train.parquet: no column 'image'; its columns: label, \\x1b[31mimage\\n; set "
         "prepare.image_column", columns(image=None, **{"\x1b[31mimage\n": [png(0)] * ROWS})),
    Case("two columns of one name", "prepare",
         "source/train.parquet: column with name 'label' has more than one occurrence; "
         "rename or drop all but one", twice_named),
    Case("images that are numbers", "prepare",
         "source/train.parquet: column 'image' holds Int64, not images (binary, or a struct "
         "with a binary field 'bytes'); set prepare.image_column",
         columns(image=list(range(ROWS)))),
    Case("images that are paths", "prepare",
         "source/train.parquet: column 'image' holds String, not images (binary, or a struct"
         " with a binary field 'bytes'); set prepare.image_column",
         columns(image=["a.png"] * ROWS)),
    Case("images that are only named", "prepare",
         "source/train.parquet: column 'image' holds Struct({'path': String}), not images "
         "(binary, or a struct with a binary field 'bytes'); set prepare.image_column",
         columns(image=[{"path": "a.png"}] * ROWS)),
    Case("labels that are fractions", "prepare",
         "source/train.parquet, column 'label', row 1 …: the label is 0.5 (Float64); labels "
         "are whole numbers or strings: convert the column, or set prepare.label_column",
         columns(label=[0.0, 0.5, 2.0] * 16)),
    Case("a label that is NaN", "prepare",
         "source/train.parquet, column 'label', row 5 …: the label is null; label the row or "
         "remove it", columns(label=row(5, float("nan")))),
    Case("labels that are lists", "prepare",
         "source/train.parquet, column 'label', row 0 …: the label is [0] (List(Int64)); labels "
         "are whole numbers or strings: convert the column, or set prepare.label_column",
         columns(label=[[0], [1], [2]] * 16)),
    Case("a label of more than 64 bits", "prepare",
         "source/train.parquet, column 'label', row 0 …: the label is 18446744073709551615 "
         "(UInt64); a label has 64 bits at most: convert the column, or set prepare.label_column",
         columns(label=[2**64 - 1] + [0] * (ROWS - 1))),
    Case("labels that are images", "prepare -S prepare.label_column=image",
         "source/train.parquet, column 'image', row 0 …: the label is … (Binary); labels are"
         " whole numbers or strings: convert the column, or set prepare.label_column"),
    Case("a null label", "prepare",
         "source/train.parquet, column 'label', row 7 …: the label is null; label the row or"
         " remove it", columns(label=row(7, None))),
    Case("all labels null", "prepare",
         "source/train.parquet, column 'label', row 0 …: the label is null; label the row or"
         " remove it", columns(label=[None] * ROWS)),
    Case("a negative label", "prepare",
         "source/train.parquet, column 'label', row 7 …: the label is negative, which usually "
         "stands for none; label the row or remove it, or number the classes from 0",
         columns(label=row(7, -1))),
    Case("a test split without labels", "prepare",
         "source/test.parquet, column 'label', row 0 …: the test split has no labels, as those of "
         "a hidden test set; set prepare.test_split=validation, which is there, or set "
         "prepare.test_share, such as 0.1, to hold out a share of train",
         both(columns(Path("source/validation.parquet")), columns(TEST, label=[-1] * 12))),
    Case("a label beyond prepare.classes", "prepare -S prepare.classes=2",
         "source/train.parquet, column 'label', row 2 …: the label is 2, outside the classes 0 "
         "to 1; correct it, or set prepare.classes to null"),
    Case("a gap in the labels", "prepare",
         "source/train.parquet, column 'label', row 2 …: train has 3 different labels, but "
         "not 0 to 2; renumber them without gaps, or set prepare.classes to 4",
         columns(label=[0, 1, 3] * 16)),
    Case("more classes than there are examples", "prepare -S prepare.classes=100000000",
         "prepare.classes: 100000000, but train has 48 examples, of 3 classes; lower it, or set it "
         "to null", code=2),
    Case("numbers in train, names in test", "prepare",
         "source/test.parquet, column 'label', row 0 …: labels are String, those of train "
         "Int64; use one type", columns(TEST, label=["ant"] * 12)),
    Case("one class only", "prepare",
         "source/train.parquet, column 'label', row 0 …: all labels are the same; add "
         "examples of a second class, or set prepare.label_column",
         both(columns(label=[0] * ROWS), columns(TEST, label=[0] * 12))),
    Case("a class only in test", "prepare",
         "source/test.parquet, column 'label', row 3 …: the label is 3, outside the classes 0 "
         "to 2; correct it, or set prepare.classes to 4 where it is one",
         columns(TEST, label=row(3, 3))),
    Case("a class name only in test", "prepare",
         "source/test.parquet, column 'label', row 2 …: the label is 'cat', none of the "
         "classes: ant, bee; correct it",
         both(columns(label=["ant", "bee"] * 24), columns(TEST, label=["ant", "bee", "cat"] * 4))),
    Case("a class with one example, held out", "prepare -S prepare.validation=0.5",
         "prepare.validation: 0.5 holds out every example of class 2, which has 1; lower it",
         columns(label=[0] * 24 + [1] * 23 + [2]), code=2),
    Case("a validation share that holds out nothing", "prepare -S prepare.validation=0.001",
         "prepare.validation: 0.001 of 16 examples a class is none; raise it, or set it to 0",
         code=2),
    Case("an empty training split", "prepare",
         "source/train.parquet: no rows; the split needs at least one; set "
         "prepare.train_split", empty(TRAIN)),
    Case("an empty test split", "prepare",
         "source/test.parquet: no rows; the split needs at least one; set prepare.test_split",
         empty(TEST)),
    Case("a null image", "prepare",
         f"{IMAGE_7}: there is no image (null); mend or remove the example",
         columns(image=row(7, None))),
    Case("an image of 0 bytes", "prepare",
         f"{IMAGE_7}: the image is empty (0 bytes); mend or remove the example",
         columns(image=row(7, b""))),
    Case("text for an image", "prepare",
         f"{IMAGE_7}: not an image in a known format …; mend or remove the example",
         columns(image=row(7, b"not an image"))),
    Case("a truncated PNG", "prepare",
         f"{IMAGE_7}: the image cannot be decoded …; mend or remove the example",
         columns(image=row(7, png(7)[:90]))),
    Case("a truncated JPEG", "prepare",
         f"{IMAGE_7}: the image cannot be decoded …; mend or remove the example",
         columns(image=row(7, png(7, form="JPEG")[:-200]))),
    Case("a PNG with damaged bytes", "prepare",
         f"{IMAGE_7}: the image cannot be decoded …; mend or remove the example",
         columns(image=row(7, png(7)[:60] + b"\0" * 40 + png(7)[100:]))),
    Case("a first image that is damaged", "prepare",
         "source/train.parquet, column 'image', row 0 …: GIF of a kind that is not read, or "
         "damaged …; mend or remove the example", columns(image=row(0, b"GIF89a"))),
    Case("a PostScript file, which Pillow would run", "prepare",
         f"{IMAGE_7}: not an image in a known format …; mend or remove the example",
         columns(image=row(7, b"%!PS-Adobe-3.0 EPSF-3.0\n"))),
    Case("an image of 16 bits a channel", "prepare",
         f"{IMAGE_7}: more than 8 bits a channel (16); save it with 8; mend or remove the example",
         columns(image=row(7, deep_png()))),
    Case("an image that would fill the memory", "prepare",
         f"{IMAGE_7}: the image, or a tile of it, has more than the 1,073,741,824 pixels that are "
         "read; make it smaller or cut it up; mend or remove the example",
         columns(image=row(7, bomb()))),
    Case("images of two sizes", "prepare",
         f"{IMAGE_7}: 8×9 pixels of 3 channels, but source/train.parquet, column 'image', row"
         " 0 …: 8×8 pixels of 3 channels; set prepare.image_size to make them one size",
         columns(image=row(7, png(7, (9, 8))))),
    Case("a test image of another size", "prepare",
         "source/test.parquet, column 'image', row 3 …: 8×9 pixels of 3 channels, but "
         "source/train.parquet, column 'image', row 0 …: 8×8 pixels of 3 channels; set "
         "prepare.image_size to make them one size", columns(TEST, image=row(3, png(3, (9, 8))))),
]
