#!/usr/bin/env bash
# Class names of a Parquet set are those of its first shard.
#
# One would think: each Parquet file carries the names of its classes (ClassLabel), so shards or
# splits whose names stand in another order are translated by name, or refused.
# What is: the first file's names are given to all numbers, of the other splits too. Nothing is
# said; with two classes in the other order every label of the later files is wrong.
# Seen with datasets 5.2.0 and pyarrow 26.0.1; features are taken from the first file
# (datasets/packaged_modules/parquet/parquet.py, inference of features).
# Here: prepare translates by name, or refuses (crest/data/labels.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq datasets==5.2.0 pyarrow==26.0.1
cd "$folder" && mkdir shards
HF_HOME="$folder" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 venv/bin/python - <<'PYTHON'
from datasets import ClassLabel, Dataset, Features, Value, load_dataset


def write(file, names):
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = {"text": names, "label": [0, 1]}  # each text says its own class
    Dataset.from_dict(rows, features=features).to_parquet(f"shards/{file}")


write("train-00000-of-00002.parquet", ["ant", "bee"])
write("train-00001-of-00002.parquet", ["bee", "ant"])
write("test-00000-of-00001.parquet", ["bee", "ant"])
found = load_dataset("shards", cache_dir="cache")
seen = {
    split: [(row["text"], rows.features["label"].int2str(row["label"])) for row in rows]
    for split, rows in found.items()
}
print("(text, name of its label):", seen)
assert seen["train"] == [("ant", "ant"), ("bee", "bee"), ("bee", "ant"), ("ant", "bee")]
assert seen["test"] == [("bee", "ant"), ("ant", "bee")]
PYTHON
echo "as described: later shards and splits are named by the first one"
