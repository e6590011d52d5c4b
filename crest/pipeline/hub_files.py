"""Files as the `datasets` library writes them, each with a description of its columns."""

import io
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from crest.artifacts import others_in
from crest.data.parquet import metadata_of
from crest.errors import DataError

CARD = "README.md"
OURS = (CARD, *(f"data/{split}-*-of-*.parquet" for split in ("train", "validation", "test")))
ROW_GROUP = 1000
WRITTEN_BY = "crest_export"
# A key of a Parquet footer, with the bytes around it that say that it is one.
ARROW_SCHEMA, PLAIN_SCHEMA = b"\x18\x0cARROW:schema\x18", b"\x18\x0cpolars:types\x18"
MARK = "\n<!-- written by `export`; SHA-256 of what stands above: "


def parquet_bytes(frame: pl.DataFrame, features: Mapping[str, Any]) -> bytes:
    """Return a Parquet file that says of itself what its columns are.

    Parameters
    ----------
    features
        As the `datasets` library describes columns; their order is that of the file.
    """
    described = json.dumps({"info": {"features": features}}, ensure_ascii=False)
    stream = io.BytesIO()
    frame[list(features)].write_parquet(
        stream,
        row_group_size=ROW_GROUP,
        metadata={"huggingface": described, WRITTEN_BY: "1"},
    )
    return _without_arrow_schema(stream.getvalue())


def _without_arrow_schema(content: bytes) -> bytes:
    """Rename the Arrow schema that Polars puts into the footer, so that readers pass it over.

    Where there is one, Arrow's readers, and `datasets` through them, take its metadata for those of
    the file; Polars writes none into it, and drops those of ``arrow_schema=`` where a column is
    nested. Where there is none they take the file's own.
    """
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    place = content.rfind(ARROW_SCHEMA, footer)
    if place < 0:
        return content
    return content[:place] + PLAIN_SCHEMA + content[place + len(ARROW_SCHEMA) :]


def marked(card: str) -> str:
    """Add to a card by what it is known again, as long as nobody changes it."""
    return f"{card}{MARK}{_digest(card)} -->\n"


def foreign_file(folder: Path) -> str | None:
    """Return the name of a file within a folder that no export wrote, or that was changed since."""
    name = others_in(folder, OURS)
    if name is not None or not folder.is_dir():
        return name
    card = folder / CARD
    if card.exists() and not _is_ours(card):
        return CARD
    shards = sorted(folder.glob("data/*.parquet"))
    return next((f"data/{shard.name}" for shard in shards if not _is_shard(shard)), None)


def _is_ours(card: Path) -> bool:
    try:
        text, mark, digest = card.read_text(encoding="utf-8").rpartition(MARK)
    except (OSError, UnicodeError):
        return False
    return bool(mark) and digest == f"{_digest(text)} -->\n"


def _is_shard(path: Path) -> bool:
    try:
        return WRITTEN_BY in metadata_of(str(path))
    except DataError:
        return False


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
