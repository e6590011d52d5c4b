"""Images and labels in Parquet files, laid out as on the Hugging Face hub, read by polars.

Where the files of a split lie: see :mod:`crest.data.split_files`. Images are structs with a field
``bytes``, or plain binary. Files are read a slice of rows at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import polars as pl
import polars.selectors as cs

from crest.data.class_names import Names, Naming, class_names, translated
from crest.data.label_types import joined, plain_labels
from crest.data.origins import rows_of
from crest.data.sources import DatasetSpec, Example, Reader, Source, some
from crest.data.split_files import UNREADABLE, SplitFiles, is_of_the_hub
from crest.data.split_names import open_splits
from crest.errors import DataError
from crest.parameters.sections import PrepareParameters

SLICES = (1000, 100, 10)  # rows; the hub writes row groups of 100 or 1000, so slices match them
SLICE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class ParquetLayout:
    """What a data set calls its columns and splits."""

    image_column: str = "image"
    label_column: str = "label"
    train_split: str = "train"
    test_split: str = "test"


@dataclass(frozen=True)
class ParquetReader:
    """A split in Parquet files.

    Parameters
    ----------
    sizes
        The files' rows.
    names
        What each file itself calls the classes, if it does.
    classes
        What the source calls them: labels are translated from a file's own numbers.
    """

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    image_column: str
    label_column: str
    names: tuple[Names | None, ...]
    classes: Names | None = None

    def __len__(self) -> int:
        return sum(self.sizes)

    def labels(self) -> pl.Series:
        """Read the label column, as Int64 or String."""
        parts: list[pl.Series] = []
        for file, names in zip(self.files, self.names, strict=True):
            column = collect(scan(file).select(plain(file, self.label_column)), file).to_series()
            place = partial(self._label_after, sum(map(len, parts)))
            labels = plain_labels(column, place)
            parts.append(translated(labels, names, self.classes, place))
        return joined(parts, self.label_at)

    def examples(self) -> Iterator[Sequence[Example]]:
        """Read the image column, a slice of one file at a time."""
        for file, size in zip(self.files, self.sizes, strict=True):
            column = _image(file, self.image_column)
            rows = slice_rows(file, size)
            for start in range(0, size, rows):
                frame = scan(file).slice(start, rows).select(column.alias("image"))
                where = f"{file}, column '{self.image_column}', near row {start} (counted from 0)"
                yield collect(frame, where)["image"].to_list()

    def places(self) -> pl.DataFrame:
        """Return the file of each row, and its row there."""
        return rows_of([*zip(self.files, self.sizes, strict=True)])

    def image_bytes(self) -> int | None:
        """Take the first rows for the mean, and the files' sizes for the most; None on the hub."""
        if any(map(is_of_the_hub, self.files)):
            return None
        first = [len(image) for image in next(self.examples()) if isinstance(image, bytes)]
        most = sum(Path(file).stat().st_size for file in self.files)
        return min(most, sum(first) * len(self) // max(1, len(first)))

    def label_at(self, row: int) -> str:
        """File, column and row within the file."""
        return self._at(self.label_column, row)

    def _label_after(self, before: int, row: int) -> str:
        return self.label_at(before + row)

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
    image = layout.image_column if params.image_column is None else params.image_column
    label = layout.label_column if params.label_column is None else params.label_column

    found = SplitFiles(str(params.source))
    naming = Naming()

    def split(name: str, key: str) -> ParquetReader:
        files = found.find(name, key)
        sizes = {file: rows for file in files if (rows := row_count(file))}
        if not sizes:
            raise DataError(
                f"{some(files)}: no rows; the split needs at least one; set prepare.{key}"
            )
        for file in sizes:
            _check_columns(file, image, label)
        named = {file: class_names(metadata_of(file), label, file) for file in sizes}
        names = naming.read(name, named)
        return ParquetReader(
            tuple(sizes), tuple(sizes.values()), image, label, names, naming.classes
        )

    source = open_splits(
        params, found, split, layout.train_split, layout.test_split, found.is_remote
    )
    notes = (*source.notes, *found.notes, *naming.notes)
    return replace(source, class_names=naming.classes, notes=notes)


def slice_rows(file: str, rows: int) -> int:
    """Rows to read at once: fewer where they are long, so that memory stays flat."""
    if is_of_the_hub(file) or not rows:
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


def row_count(file: str) -> int:
    """Count the rows of a file."""
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


def column_of(name: str) -> pl.Expr:
    """Select the column of exactly this name; ``pl.col`` takes ``*`` and ``^...$`` for patterns."""
    return cs.by_name(name)


def _image(file: str, column: str) -> pl.Expr:
    expression = column_of(column)
    is_struct = isinstance(_schema(file)[column], pl.Struct)
    return expression.struct.field("bytes") if is_struct else expression


def plain(file: str, column: str, opened: Callable[[str], pl.LazyFrame] = scan) -> pl.Expr:
    """Read a column of categories as strings: their numbers differ from file to file."""
    expression = column_of(column)
    is_category = isinstance(_schema(file, opened)[column], pl.Categorical | pl.Enum)
    return expression.cast(pl.String) if is_category else expression


PARQUET = DatasetSpec(
    open=open_parquet, sources="a folder of Parquet files, or hf://datasets/OWNER/NAME"
)

# The whole of it has 200 classes; samples with fewer are prepared as well.
TINY_IMAGENET = DatasetSpec(
    open=partial(open_parquet, layout=ParquetLayout(test_split="valid")),
    sources="a folder of Parquet files, or hf://datasets/zh-plus/tiny-imagenet",
)
