"""Files of UTF-8 text, plain or gzipped: opened, or refused with a message of what they are."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from crest.errors import DataError

LONGEST = 2**24  # bytes of a line, characters of a cell: what no text needs, but any memory has
PIECE_BYTES = 2**21  # of a file, read at once
AT_ONCE = 64  # rows of a file, at most
BLOCK = 2**16
GZIP = b"\x1f\x8b"
LINE_FEED = (b"\n",)
ANY_BREAK = (b"\n", b"\r")

# How files begin that are no UTF-8, what they are, and what to do.
OTHERS = (
    (b"\xff\xfe\0\0", "UTF-32 text", "save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32 text", "save it as UTF-8"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack it, or save it as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save it as CSV in UTF-8"),
    (b"PAR1", "a Parquet file", "let its name end in .parquet"),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
    (b"BZh", "compressed by bzip2", "unpack it, or compress it by gzip"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it, or compress it by gzip"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file with git lfs pull"),
    (b"<!DOCTYPE", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
    (b"(\xb5/\xfd", "compressed by zstd", "unpack it, or compress it by gzip"),
)

Cell = TypeVar("Cell")


class CheckedStream(io.BufferedIOBase):
    """Bytes of a file on their way to a decoder: counted, and no line of them without an end.

    Parameters
    ----------
    start
        What was read of the stream already.
    breaks
        What ends a line; none if what the file holds is not in lines.
    """

    def __init__(
        self, file: str, start: bytes, stream: io.BufferedIOBase, breaks: Sequence[bytes]
    ) -> None:
        self.taken = 0
        self.name = file
        self._start = start
        self._stream = stream
        self._breaks = breaks
        self._open = 0  # bytes since the last line break

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def read1(self, size: int = -1, /) -> bytes:
        """Return the next bytes, none at the end."""
        data, self._start = self._start or self._stream.read(BLOCK), b""
        self.taken += len(data)
        if self._breaks:
            end = max(data.rfind(mark) for mark in self._breaks)
            self._open = len(data) - 1 - end if end >= 0 else self._open + len(data)
            if self._open > LONGEST:
                raise DataError(
                    f"{self.name}: a line of more than {LONGEST} bytes, which no text needs; "
                    "correct the file"
                )
        return data


@contextmanager
def opened(
    file: str, breaks: Sequence[bytes] = ()
) -> Iterator[tuple[io.TextIOWrapper, CheckedStream]]:
    """Open a file for reading, its line breaks as they are; a byte-order mark is passed over.

    Parameters
    ----------
    breaks
        What ends a line; none if what the file holds is not in lines.

    Raises
    ------
    DataError
        If it cannot be read or is no UTF-8, which may show only while it is read.
    """
    try:
        with _bytes(file) as stream:
            start = stream.read(64)
            _refuse_others(file, start)
            checked = CheckedStream(file, start.removeprefix(codecs.BOM_UTF8), stream, breaks)
            newline = "\n" if breaks == LINE_FEED else ""
            yield io.TextIOWrapper(checked, encoding="utf-8", newline=newline), checked
    except UnicodeDecodeError:
        raise _not_utf8(file) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file}: not a whole gzip file ({error}); get it again") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}; mend it") from None


def pieces(
    columns: Iterable[Mapping[str, Sequence[Cell]]], checked: CheckedStream
) -> Iterator[dict[str, list[Cell]]]:
    """Join columns of a few consecutive rows to those of about as large a piece of the file each.

    Rows are best taken apart while they are few: of many, Python's garbage collector takes as much
    time as reading them does.
    """
    piece: dict[str, list[Cell]] = {}
    before = checked.taken
    for few in columns:
        for name, cells in few.items():
            piece.setdefault(name, []).extend(cells)
        if checked.taken - before >= PIECE_BYTES:
            yield piece
            piece, before = {}, checked.taken
    if piece:
        yield piece


def _bytes(file: str) -> io.BufferedIOBase:
    if not file.lower().endswith(".gz"):
        return Path(file).open("rb")
    with Path(file).open("rb") as packed:
        if (start := packed.read(2)) != GZIP:
            what = "is empty" if not start else "is not compressed by gzip, whatever its name says"
            raise DataError(f"{file}: {what}; get it again, or take .gz off its name")
    return gzip.open(file, "rb")


def _refuse_others(file: str, start: bytes) -> None:
    """Raise for a file that begins as one that holds something else."""
    if start.startswith(GZIP):
        raise DataError(f"{file}: compressed by gzip; let its name end in .gz")
    for beginning, what, remedy in OTHERS:
        if start.startswith(beginning):
            raise DataError(f"{file}: {what}, not UTF-8 text; {remedy}")
    if start[1:4:2] == b"\0\0" or start[0:3:2] == b"\0\0":
        raise DataError(f"{file}: UTF-16 text, not UTF-8 text; save it as UTF-8")


def _not_utf8(file: str) -> DataError:
    """Return the error that names the first byte which is no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    place, lines, ends_in_return = 0, 1, False
    with _bytes(file) as stream:
        for data in _blocks(stream):
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(data, final=not data)
                place += len(data)
            except UnicodeDecodeError as error:
                at = error.start - waiting
                lines += _line_breaks(data[: max(at, 0)], ends_in_return)
                what = f"byte 0x{error.object[error.start]:02x} at place {place + at}"
                return DataError(
                    f"{file}, line {lines}: not UTF-8 ({what}), but another encoding such as "
                    "Latin-1 or Windows-1252; save the file as UTF-8"
                )
            lines += _line_breaks(data, ends_in_return)
            ends_in_return = data.endswith(b"\r")
    return DataError(f"{file}: changed while it was read; start again")


def _blocks(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield all of a stream, and nothing at its end."""
    read: Callable[[], bytes] = lambda: stream.read(BLOCK)  # noqa: E731
    yield from iter(read, b"")
    yield b""


def _line_breaks(data: bytes, after_return: bool) -> int:
    r"""Count \n, \r and \r\n, which may lie across the beginning."""
    count = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    return count - (after_return and data.startswith(b"\n"))
