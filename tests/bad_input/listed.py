"""What may be wrong with a file that lists images, and with the choice of how they are stored."""

from tests.bad_input.breaks import content, gone
from tests.bad_input.case import Break, Case
from tests.bad_input.project import FOLDER, LIST, LISTED

# fmt: off


def row(place: int, text: str) -> Break:
    """Return what writes the list with another row, counted from 0."""
    lines = LIST.splitlines()
    lines[place + 1] = text
    return content("list.csv", "\n".join(lines).encode() + b"\n")


LISTED_IMAGES = [
    Case("no list", LISTED, "list.csv: no such file; set prepare.source to the file that lists the "
         "images", gone("list.csv")),
    Case("a folder for a list", LISTED.replace("list.csv", "images"),
         "images: is a folder, not a file; set prepare.source to the file that lists the images"),
    Case("a list of another kind", LISTED.replace("list.csv", "params.yaml"),
         "prepare.source: params.yaml: the name of the list must end in .csv, …", code=2),
    Case("no column of paths", f"{LISTED} -S prepare.image_column=file",
         "list.csv: no column 'file'; its columns: image, label; set prepare.image_column"),
    Case("no column of splits", f"{LISTED} -S prepare.split_column=part",
         "list.csv: no column 'part'; its columns: image, label; set prepare.split_column"),
    Case("a split without a column of splits", f"{LISTED} -S prepare.test_split=test",
         "prepare.test_split: list.csv has no column of splits (prepare.split_column); leave it "
         "null", code=2),
    Case("a listed image that is not there", LISTED,
         "list.csv, column 'image', row 2 (counted from 0), line 4: no file images/cow.png in .; "
         "correct the path or remove the row", row(2, "images/cow.png,cow")),
    Case("a listed address", LISTED,
         "list.csv, column 'image', row 2 (counted from 0), line 4: https://example.com/cow.png is "
         "an address; download the image, and write where it lies",
         row(2, "https://example.com/cow.png,cow")),
    Case("a path out of the list's folder", LISTED,
         "list.csv, column 'image', row 2 (counted from 0), line 4: '../cow.png' leads out of .; "
         "write paths relative to the list's folder, and put the list into a folder that holds all "
         "images", row(2, "../cow.png,cow")),
    Case("a row without a path", LISTED,
         "list.csv, column 'image', row 2 (counted from 0), line 4: there is no path; write one or "
         "remove the row", row(2, ",ant")),
    Case("a listed image without a label", LISTED,
         "list.csv, column 'label', row 2 (counted from 0), line 4: the label is null; …",
         row(2, "images/train/ant/1.png,")),
    Case("a listed image that is none", LISTED,
         "list.csv, column 'image', row 2 (counted from 0), line 4, images/train/ant/1.png: the "
         "image is empty (0 bytes); mend or remove the example",
         content("images/train/ant/1.png", b"")),
    Case("smaller files of images stored as pixels", f"{FOLDER} -S prepare.encoded_side=9",
         "prepare.encoded_side: only encoded storage has a use for it; set prepare.storage to "
         "encoded, or leave it null", code=2),
    Case("smaller files than images", f"{FOLDER} -S prepare.image_size=8 "
         "-S prepare.storage=encoded -S prepare.encoded_side=4",
         "prepare.encoded_side: 4 is less than what prepare.image_size asks for (8); set "
         "image_size to 4 or less, or leave encoded_side null", code=2),
]
