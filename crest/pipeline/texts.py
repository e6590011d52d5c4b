"""Prepared texts, read back for people to see: only the rows asked for."""

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from crest.analysis.difficulty import Group
from crest.artifacts import NEVER
from crest.data.files import Meta, TextMeta, damaged
from crest.data.origins import columns_in
from crest.data.parquet import column_of
from crest.data.split_files import UNREADABLE
from crest.data.verifying import file_hash
from crest.errors import ArtifactError

# The columns of texts.csv that come before the texts.
SCORE_COLUMNS = {
    "group": pl.String,
    "index": pl.Int64,
    "label": pl.String,
    "forgotten": pl.Int32,
    "seen": pl.Int32,
    "correct": pl.Int32,
    "mean_loss": pl.Float64,
    "el2n": pl.Float64,
    "taken_for": pl.String,
    "wrong_label": pl.Float64,
    "first_learned": pl.Int32,
    "selected": pl.Int32,
    "excluded_at": pl.Int32,
}


def texts_of_groups(folder: Path, meta: TextMeta, groups: Sequence[Group]) -> pl.DataFrame:
    """Put the texts of the examples that groups show beside their scores.

    Columns are those of :data:`SCORE_COLUMNS` and the texts', under their own names; a text column
    that is called as one of these has ``_text`` added. Where the groups have it, the file and row
    of each example follow.

    Raises
    ------
    ArtifactError
        As :func:`read_texts`.
    """
    texts = read_texts(folder, meta, [row for group in groups for row in group.rows["index"]])
    origins = columns_in(groups[0].rows) if groups else {}
    names = _text_names(meta)
    own = {name: free_name(name, names) for name in origins}
    rows = [
        {
            **row,
            "group": group.name,
            "label": class_name(meta, row["label"]),
            "taken_for": taken_for_name(meta, row["taken_for"]),
            **dict(zip(names, texts[row["index"]], strict=True)),
            **{own[name]: row[name] for name in origins},
        }
        for group in groups
        for row in group.rows.iter_rows(named=True)
    ]
    kinds = {own[name]: kind for name, kind in origins.items()}
    return pl.DataFrame(rows, schema=SCORE_COLUMNS | dict.fromkeys(names, pl.String) | kinds)


def _text_names(meta: TextMeta) -> list[str]:
    taken = {*SCORE_COLUMNS, *meta.text_columns}
    return [
        free_name(f"{name}_text", taken) if name in SCORE_COLUMNS else name
        for name in meta.text_columns
    ]


def free_name(name: str, taken: Collection[str]) -> str:
    """Return the name, with as many _ added as it takes to be none of those ``taken``."""
    return free_name(f"{name}_", taken) if name in taken else name


def class_name(meta: Meta | None, label: int | None) -> str | None:
    """Return the name of a label, its number where it has none; None where there is no label."""
    if label is None:
        return None
    named = meta is not None and 0 <= label < len(meta.classes)
    return meta.classes[label] if meta is not None and named else str(label)


def taken_for_name(meta: Meta | None, label: int | None) -> str | None:
    """Return the name of the class that an example is taken for; None for none."""
    return None if label is None or label == NEVER else class_name(meta, label)


def ranked(
    rows: pl.DataFrame, meta: Meta | None, more: Sequence[str] = (), most: int = 1000
) -> pl.DataFrame:
    """Return the first rows of a 'difficulty' table, with the names of their classes.

    Where they came from is at the end, if the table has it (:mod:`crest.data.origins`).
    """
    first = rows.head(most)
    names = {
        "label": [class_name(meta, label) for label in first["label"]],
        "taken_for": [taken_for_name(meta, label) for label in first["taken_for"]],
    }
    kinds = dict.fromkeys(names, pl.String)
    columns = ["index", "label", "taken_for", "wrong_label", "mean_loss", "seen", "correct", *more]
    found = first.with_columns(pl.DataFrame(names, schema=kinds))
    return found.select(*columns, *columns_in(first))


def with_texts(rows: pl.DataFrame, meta: Meta | None, prepared: Path | None) -> pl.DataFrame:
    """Add the texts of the training examples of some rows, under their own names.

    A text column that is called as another of the table has ``_`` added. Rows of other data, or of
    none, are returned as they are.

    Raises
    ------
    ArtifactError
        As :func:`read_texts`.
    """
    if prepared is None or not isinstance(meta, TextMeta):
        return rows
    found = text_rows(prepared, meta, "train", rows["index"].to_list())
    places = {str(at): name for at, name in enumerate(meta.text_columns)}
    taken = {*rows.columns, *meta.text_columns}
    names = {
        at: free_name(f"{name}_", taken) if name in rows.columns else name
        for at, name in places.items()
    }
    texts = found.rename({"row": "index"} | names).cast({"index": pl.Int64})
    return rows.join(texts, on="index", how="left", maintain_order="left")


def read_texts(folder: Path, meta: TextMeta, rows: Sequence[int]) -> dict[int, list[str]]:
    """Read training examples: the texts of each of ``rows``, in the order of meta.text_columns.

    The file is scanned, never held whole, however many examples there are.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, or not that of the description.
    """
    found = text_rows(folder, meta, "train", rows)
    return {row: values for row, *values in found.iter_rows()}


def text_rows(folder: Path, meta: TextMeta, split: str, rows: Sequence[int]) -> pl.DataFrame:
    """Read examples of a split: a line for each distinct one of ``rows``, in ascending order.

    Columns: row, then the texts in the order of meta.text_columns, named 0 and 1: a column of
    theirs may be called anything.

    Raises
    ------
    ArtifactError
        As :func:`read_texts`.
    """
    path = folder / f"{split}_texts.parquet"
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file; run `python cli.py prepare` again")
    if file_hash(path) != meta.text_hashes.get(split):
        raise damaged(path, "it is other than when it was written")
    try:
        scan = pl.scan_parquet(path, glob=False)
        _check(path, meta, split, scan)
        texts = [column_of(name).alias(str(at)) for at, name in enumerate(meta.text_columns)]
        numbered = scan.select(texts).with_row_index("row")
        wanted = numbered.filter(pl.col("row").is_in(sorted(set(rows))))
        found = wanted.collect(engine="streaming").sort("row")
    except UNREADABLE as error:
        raise damaged(path, str(error).partition("\n")[0]) from None
    for row, *values in found.iter_rows():
        if None in values:
            raise damaged(path, f"row {row} lacks a text")
    return found


def _check(path: Path, meta: TextMeta, split: str, scan: pl.LazyFrame) -> None:
    schema = scan.collect_schema()
    for name in meta.text_columns:
        if schema.get(name) != pl.String:
            kind = schema.get(name, "missing")
            raise damaged(path, f"column '{name}' is {kind}, it must be String")
    count = scan.select(pl.len()).collect().item()
    if count != meta.sizes[split]:
        raise damaged(path, f"{count} rows, meta.json says {meta.sizes[split]}")


def with_class_names(table: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """Put the name of each label into a column 'class'."""
    return table.with_columns(pl.Series("class", classes).gather(table["label"]))
