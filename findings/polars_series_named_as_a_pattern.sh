#!/usr/bin/env bash
# Polars: a series whose name looks like a pattern has no methods, and arrow_schema= loses metadata.
#
# One would think: a pattern is something that pl.col() is asked for; a series at hand, taken by
# df["^label$"], is what it is. And that write_parquet(arrow_schema=...) writes the metadata of the
# schema whatever the columns are.
# What is: methods of Series (is_null, unique, any with an expression of the same name) put the
# series into a frame and select it by its name, as a pattern: one called ^label$ raises IndexError,
# though ^.*$, which matches itself, works. Metadata of the schema are written with flat columns, and
# lost without a word as soon as one column is a list or a struct - as images are in the hub's
# layout, for whose ClassLabel and Image one would set them.
# Seen with polars 2.1.0 (polars/series/utils.py: s.to_frame().select_seq(f(...))), pyarrow 26.0.1.
# Here: series of labels get a name of our own (crest/data/label_types.py), columns are selected by
# polars.selectors.by_name, and exports drop the Arrow schema, so that the file's own metadata count
# (crest/pipeline/hub_files.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq polars==2.1.0 pyarrow==26.0.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import io

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


def methods(name):
    series = pl.DataFrame({name: [1, None]})[name]
    try:
        return series.is_null().to_list()
    except IndexError as error:
        return f"IndexError: {error}"


found = {name: methods(name) for name in ("label", "^.*$", "^label$")}
print("is_null of a series by its name:", found)
assert found["label"] == found["^.*$"] == [False, True]
assert str(found["^label$"]).startswith("IndexError")


def metadata(frame, kind):
    stream = io.BytesIO()
    schema = pa.schema([pa.field("a", kind)], metadata={"huggingface": "{}"})
    frame.write_parquet(stream, arrow_schema=schema)
    return pq.ParquetFile(stream).schema_arrow.metadata


flat = metadata(pl.DataFrame({"a": [1]}), pa.int64())
nested = metadata(pl.DataFrame({"a": [{"x": 1}]}), pa.struct([("x", pa.int64())]))
listed = metadata(pl.DataFrame({"a": [[1]]}), pa.large_list(pa.int64()))
print("metadata of the schema with a flat column:", flat, "a struct:", nested, "a list:", listed)
assert flat == {b"huggingface": b"{}"} and nested is None and listed is None
PYTHON
echo "as described: ^label$ has no methods, and a nested column costs the schema its metadata"
