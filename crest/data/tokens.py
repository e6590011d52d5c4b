"""From texts to a folder of token numbers, a batch at a time; see :mod:`crest.data.files`."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crest.artifacts import os_error
from crest.data.files import PERCENTILES, SCHEMA_VERSIONS, TextMeta, write_meta
from crest.data.labels import encode_labels
from crest.data.places import write_sources
from crest.data.sources import Source
from crest.data.splits import (
    Advance,
    ArrayFile,
    divide,
    each_split,
    write_labels,
)
from crest.data.text import TextReader
from crest.data.verifying import with_hashes
from crest.data.vocabulary import is_panic, load_tokenizer, vocabulary_hash, vocabulary_size
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters

BATCH = 1000  # texts tokenised at once
ROWS_AT_ONCE = 100_000  # texts held before they are written


@dataclass(frozen=True)
class Encoded:
    """Tokenised texts: ``tokens`` and where the second text of each begins.

    ``full_lengths`` are the tokens that each would have had without the greatest length.
    """

    tokens: list[list[int]]
    second_starts: list[int]
    full_lengths: list[int]


class Encoder:
    """Tokenises texts and cuts them to a greatest length, the longer of two first.

    Raises
    ------
    ParameterError
        If not even the special tokens fit.
    """

    def __init__(self, tokenizer: Any, max_length: int, columns: int) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self.token_types = "token_type_ids" in tokenizer.model_input_names
        least = tokenizer.num_special_tokens_to_add(pair=columns == 2) + columns
        if max_length < least:
            raise ParameterError(
                f"prepare.max_length: {max_length} is less than the special tokens and one of "
                f"each text take, {least}; raise it"
            )

    def encode(self, texts: pl.DataFrame) -> Encoded:
        """Tokenise rows of one or two text columns."""
        columns = [texts[name].to_list() for name in texts.columns]
        tokens, types = self._call(columns)
        full_lengths = [len(row) for row in tokens]
        long = [row for row, length in enumerate(full_lengths) if length > self._max_length]
        if long:
            # Once more, as the tokenizer cuts them: special tokens stay.
            some = [[column[row] for row in long] for column in columns]
            cut, cut_types = self._call(some, truncation=True, max_length=self._max_length)
            for row, row_tokens, row_types in zip(long, cut, cut_types, strict=True):
                tokens[row], types[row] = row_tokens, row_types
        return Encoded(tokens, [_second_start(row) for row in types], full_lengths)

    def _call(self, columns: list[list[str]], **options: Any) -> tuple[list[Any], list[Any]]:
        try:
            encoded = self._tokenizer(
                *columns,
                return_attention_mask=False,
                return_token_type_ids=self.token_types,
                verbose=False,
                **options,
            )
        # What a tokenizer raises for a word it does not know, or for its own odd settings.
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ParameterError(
                f"prepare.tokenizer: it fails on texts such as {columns[0][0]!r:.40} ({reason}); "
                "use another model"
            ) from None
        tokens = encoded["input_ids"]
        types = (
            encoded["token_type_ids"] if self.token_types else [[0] * len(row) for row in tokens]
        )
        return tokens, types


class RaggedWriter:
    """Writes the arrays and texts of one split, row by row; a context manager.

    ``lengths`` are the rows' tokens before they were cut, ``truncated`` how many were.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._tokens = ArrayFile(folder / f"{name}_tokens.npy", np.int32)
        self._offsets = ArrayFile(folder / f"{name}_offsets.npy", np.int64)
        self._second_starts = ArrayFile(folder / f"{name}_second_starts.npy", np.int32)
        self._texts = TextFile(folder / f"{name}_texts.parquet")
        self._end = 0
        self.lengths: list[NDArray[np.int64]] = []
        self.truncated = 0

    def __enter__(self) -> "RaggedWriter":
        with ExitStack() as stack:
            for file in (self._tokens, self._offsets, self._second_starts, self._texts):
                stack.enter_context(file)
            self._files = stack.pop_all()
        self._offsets.append(np.zeros(1, dtype=np.int64))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def append(self, encoded: Encoded, texts: pl.DataFrame, rows: NDArray[np.bool_]) -> None:
        """Add those of the encoded texts that a mask names."""
        chosen = np.flatnonzero(rows).tolist()
        tokens = [encoded.tokens[row] for row in chosen]
        lengths = np.array([len(row) for row in tokens], dtype=np.int64)
        full = np.array([encoded.full_lengths[row] for row in chosen], dtype=np.int64)
        self._tokens.append(np.array([number for row in tokens for number in row], dtype=np.int32))
        self._offsets.append(self._end + np.cumsum(lengths))
        self._second_starts.append(
            np.array([encoded.second_starts[row] for row in chosen], dtype=np.int32)
        )
        self._texts.append(texts.filter(pl.Series(rows)))
        self._end += int(lengths.sum())
        self.lengths.append(full)
        self.truncated += int((full > lengths).sum())

    def percentiles(self) -> dict[str, float]:
        """Percentiles of the lengths before cutting."""
        lengths = np.concatenate(self.lengths)
        values = np.percentile(lengths, PERCENTILES, method="inverted_cdf")
        return {str(share): float(value) for share, value in zip(PERCENTILES, values, strict=True)}


class TextFile:
    """A Parquet file of texts, of which few are held at once; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[pl.DataFrame] = []
        self._parts: list[Path] = []

    def __enter__(self) -> "TextFile":
        self._folder = tempfile.TemporaryDirectory(dir=self._path.parent, prefix=self._path.stem)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._folder:
            if kind is None:
                self._flush()
                parts = pl.scan_parquet(self._parts, glob=False)
                _writing(lambda: parts.sink_parquet(self._path))

    def append(self, texts: pl.DataFrame) -> None:
        """Add rows at the end."""
        self._waiting.append(texts)
        if sum(len(frame) for frame in self._waiting) >= ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            part = Path(self._folder.name) / f"{len(self._parts):08}.parquet"
            _writing(lambda: pl.concat(self._waiting).write_parquet(part))
            self._parts.append(part)
            self._waiting = []


def _writing(write: Callable[[], object]) -> None:
    """Let Polars write; what the disk refuses is an :class:`OSError`, as elsewhere."""
    try:
        write()
    except pl.exceptions.ComputeError as error:
        raise os_error(error) from None


def build_text(
    source: Source[TextReader], params: PrepareParameters, folder: Path, advance: Advance
) -> TextMeta:
    """Write everything of ``data/prepared`` into an empty folder.

    Parameters
    ----------
    advance
        Told how many examples of all splits are done.

    Raises
    ------
    DataError
        If a label or a text cannot be used; the message names its file and row.
    ParameterError
        If there is no such tokenizer, or the classes or lengths do not fit the data.
    """
    if params.tokenizer is None:
        raise ParameterError(
            f"prepare.tokenizer: {params.dataset} needs one: the name or folder of a model of "
            "transformers, usually that of train.model"
        )
    tokenizer = load_tokenizer(params.tokenizer)
    encoder = Encoder(tokenizer, params.max_length, len(source.train.text_columns))
    labels = encode_labels(source, params.classes)
    division = divide(labels, params)
    writers: dict[str, RaggedWriter] = {}
    for name, reader, advance_split in each_split(source, advance):
        writers |= _write_texts(reader, encoder, division.parts[name], folder, advance_split)
    write_sources(source, division, folder)
    meta = TextMeta(
        schema_version=SCHEMA_VERSIONS["text"],
        kind="text",
        dataset=params.dataset,
        source=str(params.source),
        sizes=write_labels(labels, division, folder),
        classes=labels.classes,
        text_columns=list(source.train.text_columns),
        tokenizer=params.tokenizer,
        vocabulary_size=vocabulary_size(tokenizer),
        vocabulary_hash=vocabulary_hash(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        token_types=encoder.token_types,
        max_length=params.max_length,
        lengths={name: writer.percentiles() for name, writer in writers.items()},
        truncated={name: writer.truncated for name, writer in writers.items()},
        dropped={name: reader.dropped for name, reader in source.splits.items()},
        content_hash="",
        notes=[*source.notes, *labels.notes, *division.notes],
    )
    meta = with_hashes(folder, meta)
    write_meta(folder, meta)
    return meta


def _write_texts(
    reader: TextReader,
    encoder: Encoder,
    parts: Mapping[str, NDArray[np.bool_]],
    folder: Path,
    advance: Advance,
) -> dict[str, RaggedWriter]:
    """Tokenise a split into the files of each part, which holds the rows its mask names."""
    writers = {name: RaggedWriter(folder, name) for name in parts}
    with ExitStack() as stack:
        for writer in writers.values():
            stack.enter_context(writer)
        start = 0
        for texts in _batches(reader.texts()):
            end = start + len(texts)
            encoded = encoder.encode(texts)
            _require_tokens(reader, encoded, start)
            for name, rows in parts.items():
                writers[name].append(encoded, texts, rows[start:end])
            advance(end)
            start = end
    return writers


def _require_tokens(reader: TextReader, encoded: Encoded, start: int) -> None:
    """Raise for the first text that has no token, as blanks have none without special tokens."""
    if 0 in encoded.full_lengths:
        where = reader.text_at(start + encoded.full_lengths.index(0))
        raise DataError(f"{where}: the text has no tokens; write one or remove the row")


def _batches(frames: Iterable[pl.DataFrame]) -> Iterable[pl.DataFrame]:
    for frame in frames:
        yield from frame.iter_slices(BATCH)


def _second_start(types: list[int]) -> int:
    """Return where token type 1 begins and stays, the length if nowhere."""
    place = len(types) - sum(types)
    if types[:place] != [0] * place or types[place:] != [1] * (len(types) - place):
        raise DataError(
            "prepare.tokenizer: it marks tokens otherwise than first text 0, second text 1; use "
            "another model"
        )
    return place
