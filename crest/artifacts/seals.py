"""Checksums that a file carries in itself, so that no bit of it changes unnoticed.

The SHA-256 is over the whole file, its own 64 digits taken for zeros. They stand in the metadata
that the format has room for: at the end of a Parquet file, at the head of a safetensors file.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

KEY = "crest_sha256"
BLANK = "0" * 64
BLOCK_BYTES = 2**20
LONGEST_HEAD = 100_000_000  # what safetensors takes

# In Parquet's Thrift the value follows its type and length, in safetensors' JSON two quotes.
_MARK = re.compile(KEY.encode() + rb'(?:":"|\x18@)([0-9a-f]{64})')


def seal_parquet(content: bytes) -> bytes:
    """Fill in the checksum of a Parquet file that was written with ``KEY: BLANK`` as metadata."""
    place = _in_parquet(content)
    assert place is not None
    return content[:place] + _digest(content, place).encode() + content[place + len(BLANK) :]


def parquet_is_whole(content: bytes) -> bool:
    """Whether a Parquet file is as it was written; True for one without a checksum."""
    place = _in_parquet(content)
    return place is None or _digest(content, place).encode() == content[place : place + len(BLANK)]


def _in_parquet(content: bytes) -> int | None:
    places = [match.start(1) for match in _MARK.finditer(content)]
    return places[-1] if places else None


def _digest(content: bytes, place: int) -> str:
    digest = hashlib.sha256(memoryview(content)[:place])
    digest.update(BLANK.encode())
    digest.update(memoryview(content)[place + len(BLANK) :])
    return digest.hexdigest()


def seal_tensors(path: Path) -> None:
    """Fill in the checksum of a safetensors file that was written with ``KEY: BLANK``.

    The metadata are sorted: safetensors puts them in an order of its own each time, so that the
    same weights would be another file.
    """
    with path.open("r+b") as file:
        _sort_metadata(file)
        file.seek(0)
        place = _in_tensors(file)
        assert place is not None
        found = _digest_of(file, place)
        file.seek(place)
        file.write(found.encode())


def _sort_metadata(file: BinaryIO) -> None:
    (length,) = struct.unpack("<Q", file.read(8))
    head = json.loads(file.read(length))
    head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(text) <= length  # the same, padded with spaces
    file.seek(8)
    file.write(text.ljust(length))


def tensors_are_whole(path: Path) -> bool | None:
    """Whether a safetensors file is as it was written; None for one without a checksum."""
    with path.open("rb") as file:
        place = _in_tensors(file)
        if place is None:
            return None
        file.seek(place)
        expected = file.read(len(BLANK))
        return _digest_of(file, place).encode() == expected


def _in_tensors(file: BinaryIO) -> int | None:
    """Return where the digits begin, within the head of a safetensors file."""
    begin = file.read(8)
    if len(begin) < 8:
        return None
    (length,) = struct.unpack("<Q", begin)
    match = _MARK.search(file.read(min(length, LONGEST_HEAD)))
    return None if match is None else 8 + match.start(1)


def _digest_of(file: BinaryIO, place: int) -> str:
    file.seek(0)
    digest = hashlib.sha256(file.read(place))
    digest.update(BLANK.encode())
    file.seek(place + len(BLANK))
    for block in _blocks(file):
        digest.update(block)
    return digest.hexdigest()


def _blocks(file: BinaryIO) -> Iterator[memoryview]:
    """Yield the rest of a file in blocks, which all lie in the same memory."""
    memory = memoryview(bytearray(BLOCK_BYTES))
    while count := file.readinto(memory):  # type: ignore[attr-defined]
        yield memory[:count]
