"""What made-up images say of themselves, for benchmarks of how much a run takes."""

from pathlib import Path

from crest.data.files import SCHEMA_VERSIONS, ImageMeta, write_meta
from crest.data.verifying import with_hashes


def write_image_meta(folder: Path, train: int, test: int, classes: int, side: int) -> None:
    """Write the meta.json of prepared colour images of ``side`` pixels, which are there."""
    meta = ImageMeta(
        schema_version=SCHEMA_VERSIONS["image"],
        kind="image",
        dataset="synthetic",
        source="synthetic",
        sizes={"train": train, "test": test},
        classes=[str(number) for number in range(classes)],
        image_shape=[side, side, 3],
        mean=[0.5] * 3,
        std=[0.25] * 3,
        content_hash="",
    )
    write_meta(folder, with_hashes(folder, meta))
