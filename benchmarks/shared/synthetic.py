"""Made-up images, as Parquet of the hub or as prepared arrays say of themselves."""

import io
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from crest.data.files import SCHEMA_VERSIONS, ImageMeta, write_meta
from crest.data.verifying import with_hashes

CLASSES = 10
DISTINCT = 200  # different images
SHARD = 50_000  # rows of a file
ROW_GROUP = 1000  # rows, as the hub writes them


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


def png(seed: int, side: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_split(folder: Path, split: str, examples: int, side: int) -> None:
    """Write SPLIT-*.parquet of structs with bytes and a path, and of labels."""
    images = [{"bytes": png(seed, side), "path": None} for seed in range(DISTINCT)]
    kinds: dict[str, pl.DataType | type[pl.DataType]] = {
        "image": pl.Struct({"bytes": pl.Binary, "path": pl.String}),
        "label": pl.Int64,
    }
    shards = -(-examples // SHARD)
    for shard in range(shards):
        rows = range(shard * SHARD, min((shard + 1) * SHARD, examples))
        columns = {
            "image": [images[row % DISTINCT] for row in rows],
            "label": [row % CLASSES for row in rows],
        }
        pl.DataFrame(columns, schema=kinds).write_parquet(
            folder / f"{split}-{shard:05}-of-{shards:05}.parquet",
            row_group_size=ROW_GROUP,
            compression="uncompressed",
        )
