"""What may be wrong with prepared data."""

from tests.bad_input.breaks import array, content, cut, gone, meta
from tests.bad_input.case import Case
from tests.bad_input.project import PREPARED

PREPARE_AGAIN = "run `python cli.py prepare` again"

# fmt: off

PREPARED_DATA = [
    Case("nothing prepared", "train",
         "data/prepared/meta.json: no prepared data here; run `python cli.py prepare` first",
         gone(PREPARED)),
    Case("no meta.json", "train",
         "data/prepared/meta.json: no prepared data here; run `python cli.py prepare` first",
         gone(PREPARED / "meta.json")),
    Case("meta.json cut short", "train",
         f"data/prepared/meta.json: damaged …; {PREPARE_AGAIN}", cut(PREPARED / "meta.json")),
    Case("meta.json that is a list", "train",
         f"data/prepared/meta.json: damaged (it holds no JSON object); {PREPARE_AGAIN}",
         content(PREPARED / "meta.json", b"[]")),
    Case("meta.json of a newer schema", "train",
         f"data/prepared/meta.json: schema version 4, this code reads 3; {PREPARE_AGAIN}",
         meta(schema_version=4)),
    Case("meta.json with a storage that is not known", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(storage="tape")),
    Case("meta.json without classes", "train",
         f"data/prepared/meta.json: damaged (lacking or not known: classes); {PREPARE_AGAIN}",
         meta(classes=None)),
    Case("meta.json with classes that are no list", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(classes=3)),
    Case("meta.json with means that are text", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(mean=["a", "b", "c"])),
    Case("meta.json with a deviation of 0", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(std=[0.0, 0.0, 0.0])),
    Case("meta.json with sizes that are no numbers", "train",
         "data/prepared/meta.json: damaged (its fields contradict each other); "
         f"{PREPARE_AGAIN}", meta(sizes={"train": "many", "test": 12})),
    Case("meta.json with more examples than there are", "train",
         "data/prepared/train_images.npy: damaged (torch.uint8 [42, 8, 8, 3], meta.json says"
         f" [99, 8, 8, 3] of uint8); {PREPARE_AGAIN}", meta(sizes={"train": 99, "test": 12})),
    Case("no training images", "train",
         f"data/prepared/train_images.npy: no such file; {PREPARE_AGAIN}",
         gone(PREPARED / "train_images.npy")),
    Case("training images cut short", "train",
         f"data/prepared/train_images.npy: damaged …; {PREPARE_AGAIN}",
         cut(PREPARED / "train_images.npy")),
    Case("labels cut short", "evaluate",
         f"data/prepared/test_labels.npy: damaged …; {PREPARE_AGAIN}",
         cut(PREPARED / "test_labels.npy")),
    Case("images that are no array", "train",
         f"data/prepared/train_images.npy: damaged …; {PREPARE_AGAIN}",
         content(PREPARED / "train_images.npy", b"pixels" * 99)),
    Case("an array of Python objects", "train",
         f"data/prepared/train_labels.npy: damaged …; {PREPARE_AGAIN}",
         array("train_labels", lambda labels: labels.astype(object))),
    Case("images of another shape", "train",
         "data/prepared/train_images.npy: damaged (torch.uint8 [42, 4, 8, 3], meta.json says"
         f" [42, 8, 8, 3] of uint8); {PREPARE_AGAIN}",
         array("train_images", lambda images: images[:, :4])),
    Case("images of another type", "train",
         "data/prepared/train_images.npy: damaged (torch.float64 [42, 8, 8, 3], meta.json "
         f"says [42, 8, 8, 3] of uint8); {PREPARE_AGAIN}",
         array("train_images", lambda images: images / 255.0)),
    Case("labels outside the classes", "train",
         "data/prepared/train_labels.npy: damaged (labels outside 3 classes); "
         f"{PREPARE_AGAIN}", array("train_labels", lambda labels: labels + 1)),
    Case("no validation labels", "train",
         f"data/prepared/validation_labels.npy: no such file; {PREPARE_AGAIN}",
         gone(PREPARED / "validation_labels.npy")),
]
