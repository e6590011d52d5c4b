"""Files that are no UTF-8 text are named for what they are; advice that is followed leads on."""

import bz2
import codecs
import gzip
import io
import lzma
import tracemalloc
from pathlib import Path

import polars as pl
import pytest

from crest.data import utf8
from crest.data.utf8 import ANY_BREAK, LINE_FEED, opened
from crest.errors import DataError

TEXT = "text,label\nun café,0\n"


def read(file: Path, breaks=ANY_BREAK) -> str:
    with opened(str(file), breaks) as (stream, _):
        return "".join(stream)


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "marked"])
def test_utf8_is_read_with_or_without_a_mark(tmp_path, mark):
    file = tmp_path / "a.csv"
    file.write_bytes(mark + "a\r\nb\rc\n\ufeffé😀\0".encode())
    assert read(file) == "a\r\nb\rc\n\ufeffé😀\0"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-32", "utf-16-le", "gbk"])
def test_another_encoding_is_told_and_saved_as_utf8_it_is_read(tmp_path, encoding):
    file = tmp_path / "a.csv"
    file.write_bytes(TEXT.encode(encoding))
    with pytest.raises(DataError, match=r"not UTF-8.*save (it|the file) as UTF-8"):
        read(file)
    file.write_text(file.read_bytes().decode(encoding), encoding="utf-8")
    assert read(file) == TEXT


@pytest.mark.parametrize("block", [1, 2, 3, 7, 65536])
@pytest.mark.parametrize(
    ("before", "line", "place"),
    [(b"", 1, 0), (b"a\nb\n", 3, 4), (b"a\r\nb\rc", 3, 6), ("é\r\n😀".encode(), 2, 8)],
)
@pytest.mark.parametrize("bad", [b"\xe9t", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98"])
def test_a_byte_that_is_no_utf8_is_named(tmp_path, monkeypatch, block, before, line, place, bad):
    monkeypatch.setattr(utf8, "BLOCK", block)
    file = tmp_path / "a.csv"
    file.write_bytes(before + bad)
    byte = f"0x{bad[0]:02x}"
    with pytest.raises(DataError, match=rf"a.csv, line {line}: .*byte {byte} at place {place}\)"):
        read(file)


def frame() -> pl.DataFrame:
    return pl.DataFrame({"text": ["a"], "label": [0]})


def parquet() -> bytes:
    stream = io.BytesIO()
    frame().write_parquet(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
        (parquet(), "a Parquet file.*let its name end in .parquet"),
        (bz2.compress(TEXT.encode()), "compressed by bzip2"),
        (lzma.compress(TEXT.encode()), "compressed by xz"),
        (b"(\xb5/\xfd\0", "compressed by zstd"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (gzip.compress(TEXT.encode(), mtime=0), "compressed by gzip; let its name end in .gz"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, data, what):
    file = tmp_path / "a.csv"
    file.write_bytes(data)
    with pytest.raises(DataError, match=what):
        read(file)


def test_gzip_is_read_and_damage_is_told(tmp_path):
    packed = gzip.compress(TEXT.encode())
    for name in ("a.csv.gz", "A.CSV.GZ"):
        (tmp_path / name).write_bytes(packed + packed)
        assert read(tmp_path / name) == TEXT + TEXT
    file = tmp_path / "a.csv.gz"
    for damaged in (packed[:-1], packed[:12], packed[:-8] + b"12345678", packed + b"rest"):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"not a whole gzip file \(.*get it again"):
            read(file)
    file.write_bytes(TEXT.encode())
    with pytest.raises(DataError, match=r"not compressed by gzip.*take .gz off its name"):
        read(file)
    assert read(file.rename(tmp_path / "b.csv")) == TEXT


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a.csv: cannot be read: Permission denied; mend it"):
        read(tmp_path / "a.csv")


def test_a_line_without_an_end_is_refused_before_memory_is_short(tmp_path):
    file = tmp_path / "a.jsonl.gz"
    with gzip.open(file, "wb", 1) as packed:
        for _ in range(64):
            packed.write(b"a" * 2**20)
    tracemalloc.start()
    with (
        pytest.raises(DataError, match=r"a line of more than \d+ bytes"),
        opened(str(file), LINE_FEED) as (stream, _),
    ):
        next(stream)
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()
