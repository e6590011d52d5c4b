"""export: saved coresets as CSV, or the examples they chose as a data set of their own."""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from crest import artifacts
from crest.config import Parameters
from crest.data.class_names import display_name
from crest.data.encoded import EncodedImages
from crest.data.files import ImageMeta, Meta, TextMeta, open_array
from crest.data.origins import SCHEMA as SOURCES
from crest.data.origins import with_sources
from crest.data.prepared import load
from crest.data.sources import Pixels
from crest.data.stored_images import open_images
from crest.errors import ArtifactError, ParameterError, needs_extra, printable
from crest.files.csv_cells import formula_note
from crest.pipeline.hub_files import CARD, foreign_file, marked, parquet_bytes
from crest.pipeline.manifest import coresets_origin
from crest.pipeline.paths import Paths
from crest.pipeline.progress import progress_bar
from crest.pipeline.reading_back import options, read_by
from crest.pipeline.saved_coresets import existing_coresets
from crest.pipeline.texts import free_name, text_rows, with_class_names
from crest.samplers.saved import from_tables
from crest.selection.totals import example_totals

with needs_extra("pipeline"):
    import yaml

with needs_extra("images"):
    from PIL import Image

SHARD_BYTES = 256 * 2**20  # of pixels in a file, which are in memory at once
SHARD_TEXTS = 100_000
SOURCE_KINDS = {"file": "string", "row": "int64"}  # as the `datasets` library calls them
HEADER_CHARACTERS = 10_000


@dataclass(frozen=True)
class Exported:
    """What was exported: ``rows`` selections of ``examples`` distinct ones out of ``available``.

    ``classes`` names those that none of them is of.
    """

    meta: Meta
    minibatches: int
    rows: int
    examples: int
    available: int
    missing_classes: list[str]


def run(
    parameters: Parameters,
    paths: Paths,
    out: Path,
    coresets: Path | None = None,
    regions: str | None = None,
) -> Exported:
    """Export saved coresets; what was at ``out`` before stays if anything fails.

    Parameters
    ----------
    out
        A file that ends in .csv: a row for each selected example and mini-batch, as in
        coresets.parquet, and the name of its class. Anything else: a folder for the data set of
        the distinct examples, in Parquet as on the Hugging Face hub, with validation and test
        whole.
    coresets
        A training run's folder, or a coresets.parquet; None: reuse.coresets.
    regions
        ``A:B``, the regions from A up to but not including B; either may be left out.

    Raises
    ------
    ParameterError
        If ``regions`` is malformed or holds no region, or ``out`` is or holds something else.
    ArtifactError
        If the coresets or the prepared data are missing, damaged, or do not go together, or
        ``out`` cannot be written.
    """
    source = existing_coresets(coresets or paths.root / parameters.reuse.coresets)
    data = load(paths.prepared, torch.device("cpu"))
    table = artifacts.read_table(source, "coresets")
    from_tables(table, None, data.train.labels, str(source))
    coresets_origin(coresets or paths.root / parameters.reuse.coresets, data.meta)
    table = _of_regions(table, regions)
    chosen = example_totals(table)
    missing = set(range(len(data.meta.classes))) - set(chosen["label"])
    exported = Exported(
        meta=data.meta,
        minibatches=table.select("region", "minibatch").n_unique(),
        rows=len(table),
        examples=len(chosen),
        available=len(data.train),
        missing_classes=[data.meta.classes[number] for number in sorted(missing)],
    )
    if is_csv(out):
        _write_csv(out, table, paths.prepared, data.meta)
        return exported
    _refuse_others(out)
    with artifacts.replacing_folder(out) as folder:
        _write_data_set(folder, paths.prepared, data.meta, chosen)
        card = _card(exported, str(source), regions)
        (folder / CARD).write_text(marked(card), encoding="utf-8")
        data.require_whole()
    return exported


def is_csv(out: Path) -> bool:
    """Whether the export is a file of CSV, and not a folder."""
    return out.suffix.lower() == ".csv"


def notes(exported: Exported, out: Path) -> Iterator[str]:
    """Say in lines what was exported, and how `prepare` reads a data set."""
    yield f"{printable(str(out))}: {_summary(exported)}"
    if is_csv(out):
        if note := formula_note("names of classes", exported.meta.classes):
            yield note
        return
    if exported.missing_classes:
        names = ", ".join(map(display_name, exported.missing_classes))
        yield f"no example of class {names} was selected"
    if len(exported.missing_classes) > len(exported.meta.classes) - 2:
        yield "prepare cannot read it: all examples that were selected are of one class"
        return
    if isinstance(exported.meta, ImageMeta) and exported.meta.image_shape[-1] == 1:
        yield "prepare makes its grey images RGB, the same three times"
    overrides = options(read_by(exported.meta, str(out), _own_names(exported.meta)["label"]))
    yield f"prepare reads it (and replaces data/prepared) with {overrides}"


def _summary(exported: Exported) -> str:
    return (
        f"{exported.examples:,} of {exported.available:,} training examples, selected "
        f"{exported.rows:,} times into {exported.minibatches:,} mini-batches"
    )


def _of_regions(table: pl.DataFrame, regions: str | None) -> pl.DataFrame:
    if regions is None:
        return table
    bounds = re.fullmatch(r"(\d{0,9}):(\d{0,9})", regions, re.ASCII)
    if bounds is None:
        raise ParameterError(
            f"--regions {regions}: write it as A:B, for the regions from A up to but not "
            "including B; either may be left out"
        )
    last = int(table["region"].max())  # type: ignore[arg-type]
    start, end = int(bounds[1] or 0), int(bounds[2] or last + 1)
    found = table.filter((pl.col("region") >= start) & (pl.col("region") < end))
    if found.is_empty():
        raise ParameterError(f"--regions {regions}: none of the coresets' regions, 0 to {last}")
    return found


def _write_csv(out: Path, table: pl.DataFrame, prepared: Path, meta: Meta) -> None:
    named = with_sources(with_class_names(table, meta.classes), prepared)
    _refuse_other_csv(out, named.columns)
    with artifacts.replacing(out) as temporary:
        temporary.write_text(named.write_csv(), encoding="utf-8")


def _refuse_other_csv(out: Path, columns: list[str]) -> None:
    """Refuse to put coresets in the place of a table of anything else, such as analyze's."""
    if not out.is_file() or out.stat().st_size == 0:
        return
    with out.open(encoding="utf-8", errors="replace") as lines:
        header = lines.readline(HEADER_CHARACTERS).rstrip("\r\n")
    if _without_sources(header.split(",")) != _without_sources(columns):
        raise ParameterError(
            f"--out {out}: a file whose columns are not those of an export; name a new one"
        )


def _without_sources(columns: list[str]) -> list[str]:
    """Leave out the columns that an export of other prepared data may lack."""
    return [name for name in columns if name not in SOURCES]


def _refuse_others(out: Path) -> None:
    """Refuse to put the data set in the place of a folder that holds anything else."""
    if out.suffix.lower() == ".parquet":
        raise ParameterError(
            f"--out {out}: a data set is a folder of Parquet files; name one without .parquet"
        )
    if (name := foreign_file(out)) is not None:
        raise ParameterError(
            f"--out {out}: a folder that holds {name}, which is not of an export, or was "
            "changed since; name a new one, or a file that ends in .csv"
        )


# ----------------------------------------------------------------------------------- the data set


def _write_data_set(folder: Path, prepared: Path, meta: Meta, chosen: pl.DataFrame) -> None:
    splits = {split: _whole(prepared, split) for split in meta.sizes} | {"train": chosen}
    if _has_sources(meta):
        splits = {split: with_sources(rows, prepared, split) for split, rows in splits.items()}
    (folder / "data").mkdir()
    done = 0
    with progress_bar("export", sum(map(len, splits.values()))) as advance:
        for split, rows in splits.items():
            size = _shard_rows(meta)
            shards = -(-len(rows) // size)
            for number, shard in enumerate(rows.iter_slices(size)):
                path = folder / "data" / f"{split}-{number:05}-of-{shards:05}.parquet"
                _write_shard(path, prepared, meta, split, shard)
                advance(done := done + len(shard))


def _whole(prepared: Path, split: str) -> pl.DataFrame:
    """Return the rows of a split that was not selected from: nothing selected, every weight 1."""
    labels = pl.Series("label", open_array(prepared, split, "labels"))
    return pl.select(
        index=pl.int_range(len(labels), dtype=pl.Int64),
        label=labels,
        selected=pl.lit(0, pl.Int32),
        weight=pl.lit(1, pl.Float32),
    )


def _shard_rows(meta: Meta) -> int:
    if isinstance(meta, TextMeta):
        return SHARD_TEXTS
    height, width, channels = meta.image_shape
    return max(1, SHARD_BYTES // (height * width * channels))


def _write_shard(path: Path, prepared: Path, meta: Meta, split: str, rows: pl.DataFrame) -> None:
    content = CONTENTS[meta.kind](prepared, meta, split, rows["index"])
    frame = pl.concat([content, rows.rename(_own_names(meta))], how="horizontal")
    # Python says plainly why a file cannot be written, Polars does not.
    path.write_bytes(parquet_bytes(frame, _features(meta)))


def _images(prepared: Path, meta: Meta, split: str, rows: pl.Series) -> pl.DataFrame:
    """The kept files of images, or PNG, which keeps every pixel, of prepared ones."""
    assert isinstance(meta, ImageMeta)
    if meta.storage == "encoded":
        return _files(prepared, meta, split, rows)
    images = open_images(prepared, split, meta)
    columns = {"bytes": [_png(images[row]) for row in rows], "path": [f"{row}.png" for row in rows]}
    return pl.DataFrame(columns).select(pl.struct("bytes", "path").alias("image"))


def _files(prepared: Path, meta: ImageMeta, split: str, rows: pl.Series) -> pl.DataFrame:
    images = EncodedImages(prepared, split, meta)
    contents = [bytes(images.content(row)) for row in rows]
    names = [f"{row}.{_ending(content)}" for row, content in zip(rows, contents, strict=True)]
    frame = pl.DataFrame({"bytes": contents, "path": names})
    return frame.select(pl.struct("bytes", "path").alias("image"))


def _ending(content: bytes) -> str:
    """Return the ending of a file that encoded storage keeps."""
    if content.startswith(b"\x89PNG"):
        return "png"
    return "webp" if content.startswith(b"RIFF") else "jpg"


def _png(pixels: Pixels) -> bytes:
    if pixels.shape[-1] not in (1, 3):
        raise ArtifactError(
            f"images of {pixels.shape[-1]} channels cannot be exported, only those of 1 or 3; "
            "export to a file that ends in .csv"
        )
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()


def _texts(prepared: Path, meta: Meta, split: str, rows: pl.Series) -> pl.DataFrame:
    assert isinstance(meta, TextMeta)
    found = text_rows(prepared, meta, split, rows.to_list()).drop("row")
    return found.rename(dict(zip(found.columns, meta.text_columns, strict=True)))


# The examples of a split at some rows, in ascending order, by kind of data.
Content = Callable[[Path, Meta, str, pl.Series], pl.DataFrame]
CONTENTS: Mapping[str, Content] = {"image": _images, "text": _texts}


def _own_names(meta: Meta) -> dict[str, str]:
    """Return what each column beside the examples is called: none as a text column is."""
    texts = meta.text_columns if isinstance(meta, TextMeta) else ()
    sources = SOURCES if _has_sources(meta) else ()
    names = ("index", "label", "selected", "weight", *sources)
    return {name: free_name(name, texts) for name in names}


def _has_sources(meta: Meta) -> bool:
    """Whether it is known of all examples where they came from."""
    return meta.source_hashes.keys() >= meta.sizes.keys()


def _features(meta: Meta) -> dict[str, Any]:
    """Return the columns in their order, as the `datasets` library describes them."""
    own = _own_names(meta)
    content = {"image": {"_type": "Image"}}
    if isinstance(meta, TextMeta):
        content = {name: _value("string") for name in meta.text_columns}
    return {
        **content,
        own["label"]: {"names": meta.classes, "_type": "ClassLabel"},
        own["weight"]: _value("float32"),
        own["selected"]: _value("int32"),
        own["index"]: _value("int64"),
        **{own[name]: _value(kind) for name, kind in SOURCE_KINDS.items() if name in own},
    }


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


def _card(exported: Exported, source: str, regions: str | None) -> str:
    """Return what is in the data set, and its files and columns as the `datasets` library wants."""
    meta, own = exported.meta, _own_names(exported.meta)
    whole = " and ".join(split for split in meta.sizes if split != "train")
    kept = (
        "the texts as their source has them"
        if isinstance(meta, TextMeta)
        else "the images as they are stored, not resized"
        if meta.storage == "encoded"
        else f"PNG of the prepared pixels, {' × '.join(map(str, meta.image_shape))}"
    )
    examples = ", ".join(f"`{name}`" for name in _features(meta) if name not in own.values())
    head = yaml.safe_dump(_card_head(meta), sort_keys=False, allow_unicode=True)
    return f"""\
---
{head}---

# Coreset of {meta.dataset}

{_summary(exported)}. From `{source}`, {f"regions {regions}" if regions else "every region"}.
The split train holds the examples that were selected, each once; {whole} are whole.

| column | what |
|---|---|
| {examples} | {kept} |
| `{own["label"]}` | class |
| `{own["weight"]}` | sum of its weights over the mini-batches that selected it; mean 1 in train |
| `{own["selected"]}` | mini-batches that selected it |
| `{own["index"]}` | row in the prepared split of the same name |{_sources_in_words(own)}

Outside train nothing was selected and every weight is 1.
"""


def _sources_in_words(own: Mapping[str, str]) -> str:
    if "file" not in own:
        return ""
    return f"""
| `{own["file"]}` | file that it came from, as prepare.source led to it |
| `{own["row"]}` | its row there, counted from 0; null where the file holds nothing else |"""


def _card_head(meta: Meta) -> dict[str, Any]:
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in meta.sizes]
    features = [
        {"name": name, "dtype": _card_type(feature)} for name, feature in _features(meta).items()
    ]
    return {
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"features": features},
    }


def _card_type(feature: Mapping[str, Any]) -> Any:
    if feature["_type"] == "ClassLabel":
        names = {str(number): name for number, name in enumerate(feature["names"])}
        return {"class_label": {"names": names}}
    return feature.get("dtype", "image")
