"""Images and labels in Parquet files, laid out as on the Hugging Face hub, read by polars.

A split is one or more files ``SPLIT-*.parquet``, or in a local folder a file ``SPLIT.parquet``, in
the source itself, in its folder data/, or in one folder of any other name. Images are structs with
a field ``bytes``, or plain binary. Files are read a slice of rows at a time.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import polars as pl

from crest.config import PrepareParameters
from crest.data.sources import DatasetSpec, Example, Reader, Source, local_folder, some
from crest.data.split_names import open_splits
from crest.errors import DataError, ParameterError

REMOTE = "hf://"
PARQUET_SUFFIX = "parquet"
ADDRESS = re.compile(r"hf://datasets/[^/\s]+/[^/\s]+(/[^/\s]+)*/?")
SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
FOLDERS = ("", "data/", "*/")
SHARD = re.compile(r"-(\d+)-of-(\d+)")
SLICES = (1000, 100, 10)  # rows; the hub writes row groups of 100 or 1000, so slices match them
SLICE_BYTES = 32 * 2**20
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True)
class ParquetLayout:
    """What a data set calls its columns and splits."""

    image_column: str = "image"
    label_column: str = "label"
    train_split: str = "train"
    test_split: str = "test"


@dataclass(frozen=True)
class ParquetReader:
    """A split in Parquet files; ``sizes`` are their rows."""

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    image_column: str
    label_column: str

    def __len__(self) -> int:
        return sum(self.sizes)

    def labels(self) -> pl.Series:
        """Read the label column."""
        frames = [
            collect(scan(file).select(plain(file, self.label_column)), file) for file in self.files
        ]
        return pl.concat(frames, how="vertical_relaxed")[self.label_column]

    def examples(self) -> Iterator[Sequence[Example]]:
        """Read the image column, a slice of one file at a time."""
        for file, size in zip(self.files, self.sizes, strict=True):
            column = _image(file, self.image_column)
            rows = slice_rows(file, size)
            for start in range(0, size, rows):
                frame = scan(file).slice(start, rows).select(column.alias("image"))
                where = f"{file}, column '{self.image_column}', near row {start} (counted from 0)"
                yield collect(frame, where)["image"].to_list()

    def label_at(self, row: int) -> str:
        """File, column and row within the file."""
        return self._at(self.label_column, row)

    def example_at(self, row: int) -> str:
        """File, column and row within the file."""
        return self._at(self.image_column, row)

    def _at(self, column: str, row: int) -> str:
        file = 0
        while row >= self.sizes[file]:
            row -= self.sizes[file]
            file += 1
        return f"{self.files[file]}, column '{column}', row {row} (counted from 0)"


def open_parquet(
    params: PrepareParameters, layout: ParquetLayout = ParquetLayout()
) -> Source[Reader]:
    """Open the splits that the parameters name, or that the layout does where they are null.

    Raises
    ------
    ParameterError
        If the source or a split's name cannot be one.
    DataError
        If files or columns are missing, damaged or of another type.
    """
    image = params.image_column or layout.image_column
    label = params.label_column or layout.label_column

    found = SplitFiles(str(params.source))

    def split(name: str, key: str) -> ParquetReader:
        files = found.find(name, key)
        for file in files:
            _check_columns(file, image, label)
        sizes = tuple(_rows(file) for file in files)
        if not sum(sizes):
            raise DataError(
                f"{some(files)}: no rows; the split needs at least one; set prepare.{key}"
            )
        return ParquetReader(files, sizes, image, label)

    source = open_splits(params, found.__contains__, split, layout.train_split, layout.test_split)
    return replace(source, class_names=class_names(metadata_of(source.train.files[0]), label))


def patterns(split: str, suffix: str = PARQUET_SUFFIX) -> tuple[str, ...]:
    """Where the files of a split may lie within a folder; the first that matches counts."""
    names = (f"{split}-*.{suffix}", f"{split}.{suffix}")
    return tuple(folder + name for folder in FOLDERS for name in names)


def addresses(source: str, split: str) -> tuple[str, ...]:
    """Where they may lie below an ``hf://datasets/OWNER/NAME`` address, as polars takes it."""
    if not ADDRESS.fullmatch(source):
        raise ParameterError(
            f"prepare.source: {source}: write it as hf://datasets/OWNER/NAME, "
            "with /FOLDER for one of several configurations"
        )
    return tuple(f"{source.rstrip('/')}/{folder}{split}-*.parquet" for folder in FOLDERS)


class SplitFiles:
    """The files of a source's splits, each listed once.

    Parameters
    ----------
    source
        A local folder, or an ``hf://datasets/OWNER/NAME`` address.
    suffixes
        Of the formats that a split may be in; on the hub it is in Parquet.
    """

    def __init__(self, source: str, suffixes: Sequence[str] = (PARQUET_SUFFIX,)) -> None:
        self._source = source
        self._suffixes = suffixes
        self._found: dict[str, list[str]] = {}

    def __contains__(self, split: str) -> bool:
        """Whether there are files of a split."""
        return bool(self._list(split))

    def find(self, split: str, key: str) -> tuple[str, ...]:
        """List the files of a split in the order of their names.

        Parameters
        ----------
        key
            The parameter that names the split, for messages.

        Raises
        ------
        ParameterError
            If the name cannot be that of a split.
        DataError
            If there are none, or they are not one whole set.
        """
        if not SPLIT_NAME.fullmatch(split):
            raise ParameterError(f"prepare.{key}: {split!r} cannot be the name of a split's files")
        found = self._list(split)
        if not found:
            plain = [suffix for suffix in self._suffixes if "." not in suffix]  # no .gz
            names = [f"{split}-*.{plain[0]}", *(f"{split}.{suffix}" for suffix in plain)]
            or_null = ", or set it to null to hold out a share of train"
            raise DataError(
                f"{self._source}: no {' or '.join(names)}; {self._there()}; set prepare.{key}"
                f"{or_null if key == 'test_split' else ''}"
            )
        check_complete(found, self._source)
        return tuple(found)

    def _list(self, split: str) -> list[str]:
        if split not in self._found:
            if self._source.startswith(REMOTE):
                listed = map(_list_remote, addresses(self._source, split))
                self._found[split] = next(filter(None, listed), [])
            else:
                self._found[split] = _find_local(local_folder(self._source), split, self._suffixes)
        return self._found[split]

    def _there(self) -> str:
        """Say what is there in the place of a split that is not."""
        if self._source.startswith(REMOTE):
            return "an address that holds Parquet files is needed"
        root = local_folder(self._source)
        others = [
            name
            for suffix in self._suffixes
            for at in ("", "*/")
            for name in _list_local(root, f"{at}*.{suffix}", True)
        ]
        kind = "Parquet files" if len(self._suffixes) == 1 else "files of these formats"
        return f"{kind} there: {some(others)}"


def _find_local(root: Path, split: str, suffixes: Sequence[str]) -> list[str]:
    """List the files of a split in the one format that it is in."""
    formats = [
        next(filter(None, (_list_local(root, at) for at in patterns(split, suffix))), [])
        for suffix in suffixes
    ]
    found = [files for files in formats if files]
    if len(found) > 1:
        raise DataError(
            f"{root}: {split} in several formats ({some([files[0] for files in found])}); keep one"
        )
    return found[0] if found else []


def check_complete(files: Sequence[str], source: str) -> None:
    """Raise :class:`DataError` unless the files are one whole set of shards in one folder."""
    folders = sorted({file.rpartition("/")[0] for file in files})
    if len(folders) > 1:
        names = some([folder.rpartition("/")[2] for folder in folders])
        raise DataError(f"{source}: several configurations ({names}); add one to prepare.source")
    shards = [match for file in files if (match := SHARD.search(file.rpartition("/")[2]))]
    totals = {int(match[2]) for match in shards}
    numbers = sorted(int(match[1]) for match in shards)
    if shards and (len(totals) > 1 or numbers != list(range(max(totals)))):
        names = some([file.rpartition("/")[2] for file in files])
        raise DataError(
            f"{source}: not one whole set of {max(totals)} files, but {names}; "
            "download what is missing and remove what is left over"
        )


def class_names(metadata: Mapping[str, str], column: str) -> tuple[str, ...] | None:
    """Names of the classes from a file's 'huggingface' metadata; None where it has none."""
    try:
        feature = json.loads(metadata["huggingface"])["info"]["features"][column]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(str(name) for name in names) if isinstance(names, list) and names else None


def slice_rows(file: str, rows: int) -> int:
    """Rows to read at once: fewer where they are long, so that memory stays flat."""
    if file.startswith(REMOTE):
        return SLICES[0]
    row_bytes = Path(file).stat().st_size / rows
    return next((count for count in SLICES if count * row_bytes <= SLICE_BYTES), SLICES[-1])


def scan(file: str) -> pl.LazyFrame:
    """Open one file; its name is no pattern."""
    return pl.scan_parquet(file, glob=False)


def collect(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """Read what was asked of a file; a damaged one is a :class:`DataError`."""
    try:
        return frame.collect()
    except UNREADABLE as error:
        unreadable(where, error)


def unreadable(where: str, error: BaseException) -> NoReturn:
    """Raise the error of a Parquet file that cannot be read."""
    if isinstance(error, pl.exceptions.DuplicateError):
        raise DataError(f"{where}: {error}; rename or drop all but one") from None
    reason = str(error).strip().partition("\n")[0]
    raise DataError(f"{where}: not a whole Parquet file ({reason}); get it again") from None


def _schema(file: str, opened: Callable[[str], pl.LazyFrame] = scan) -> pl.Schema:
    try:
        return opened(file).collect_schema()
    except UNREADABLE as error:
        unreadable(file, error)


def metadata_of(file: str) -> Mapping[str, str]:
    """Read the text pairs in a file's footer."""
    try:
        return pl.read_parquet_metadata(file)
    except UNREADABLE as error:
        unreadable(file, error)


def _rows(file: str) -> int:
    return int(collect(scan(file).select(pl.len()), file).item())


def _check_columns(file: str, image: str, label: str) -> None:
    schema = _schema(file)
    for column, key in ((image, "image_column"), (label, "label_column")):
        if column not in schema:
            raise DataError(
                f"{file}: no column '{column}'; its columns: {some(list(schema))}; "
                f"set prepare.{key}"
            )
    dtype = schema[image]
    if (dtype.to_schema().get("bytes") if isinstance(dtype, pl.Struct) else dtype) != pl.Binary:
        raise DataError(
            f"{file}: column '{image}' holds {dtype}, not images (binary, or a struct "
            "with a binary field 'bytes'); set prepare.image_column"
        )


def _image(file: str, column: str) -> pl.Expr:
    expression = pl.col(column)
    is_struct = isinstance(_schema(file)[column], pl.Struct)
    return expression.struct.field("bytes") if is_struct else expression


def plain(file: str, column: str, opened: Callable[[str], pl.LazyFrame] = scan) -> pl.Expr:
    """Read a column of categories as strings: their numbers differ from file to file."""
    expression = pl.col(column)
    is_category = isinstance(_schema(file, opened)[column], pl.Categorical | pl.Enum)
    return expression.cast(pl.String) if is_category else expression


def _list_local(root: Path, pattern: str, relative: bool = False) -> list[str]:
    files = sorted(path for path in root.glob(pattern) if path.is_file())
    return [(path.relative_to(root) if relative else path).as_posix() for path in files]


def _list_remote(pattern: str) -> list[str]:
    """List the files that match, asked of polars; none where nothing does."""
    path = pl.col("crest_path").unique()
    try:
        listing = pl.scan_parquet(pattern, include_file_paths="crest_path").select(path).collect()
    except UNREADABLE as error:
        if "expanded paths were empty" in str(error):
            return []
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{pattern}: cannot be read: {reason}") from None
    return sorted(listing["crest_path"].to_list())


PARQUET = DatasetSpec(
    open=open_parquet, sources="a folder of Parquet files, or hf://datasets/OWNER/NAME"
)

# The whole of it has 200 classes; samples with fewer are prepared as well.
TINY_IMAGENET = DatasetSpec(
    open=partial(open_parquet, layout=ParquetLayout(test_split="valid")),
    sources="a folder of Parquet files, or hf://datasets/zh-plus/tiny-imagenet",
)
