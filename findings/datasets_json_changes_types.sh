#!/usr/bin/env bash
# JSON lines read by datasets: texts that look like dates are dates, one large number makes floats.
#
# One would think: a JSON string stays a string and a JSON integer an integer, else it is refused.
# What is: a column whose strings all look like dates becomes a timestamp (a text classifier is
# then given datetime objects), and one integer beyond int64 turns the whole column into floats,
# so that a label 1 is 1.0 and a number of 19 digits is rounded. Nothing is said.
# Seen with datasets 5.2.0 on pyarrow 26.0.1 (the type inference of pyarrow.json, and the fallback
# to pandas where it refuses).
# Here: texts stay texts, and a number beyond int64 is refused with its line (crest/data).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1
cd "$folder"
HF_HOME="$folder" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 venv/bin/python - <<'PYTHON'
from datetime import datetime
from pathlib import Path

from datasets import load_dataset


def read(name, *lines):
    Path(name).write_text("\n".join(lines) + "\n")
    return load_dataset("json", data_files=name, cache_dir=f"cache-{name}", split="train")[:]


dates = read("dates.jsonl", '{"text": "2024-01-01", "label": 0}', '{"text": "2024-01-02", "label": 1}')
large = read("large.jsonl", '{"text": "a", "label": 1}', '{"text": "b", "label": 9223372036854775809}')
print("dates:", dates)
print("large:", large)
assert dates["text"] == [datetime(2024, 1, 1), datetime(2024, 1, 2)]
assert large["label"] == [1.0, 9223372036854775808.0] and isinstance(large["label"][0], float)
PYTHON
echo "as described: strings became dates, integers became floats"
