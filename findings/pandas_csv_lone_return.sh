#!/usr/bin/env bash
# One would think: what pandas writes as CSV, pandas reads as it was.
# What is: a carriage return alone within a text (old Mac line breaks, web forms, pasted text) is
# written without quotes, as only the line break in use is looked for, and is read as the end of the
# row: two rows come back as three, and a label becomes missing. It is Python's csv.writer that
# leaves it bare with lineterminator="\n", though its own reader ends a row there. Polars quotes it.
# Seen with pandas 2.3.3 and Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pandas==2.3.3 polars==1.35.2
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import csv
import io
import sys
from pathlib import Path

import pandas as pd
import polars as pl

path = Path(sys.argv[1]) / "texts.csv"
rows = {"text": ["first\rsecond", "third"], "label": [0, 1]}

pd.DataFrame(rows).to_csv(path, index=False)
written = path.read_bytes()
back = pd.read_csv(path)
print("pandas writes", written)
print("pandas reads", back.values.tolist())

stream = io.StringIO(newline="")
csv.writer(stream, lineterminator="\n").writerow(["first\rsecond", 0])
print("csv writes", repr(stream.getvalue()))

pl.DataFrame(rows).write_csv(path)
print("Polars writes", path.read_bytes())

assert written == b"text,label\nfirst\rsecond,0\nthird,1\n"
assert len(back) == 3
assert back["label"].isna().sum() == 1
assert stream.getvalue() == "first\rsecond,0\n"
assert path.read_bytes() == b'text,label\n"first\rsecond",0\nthird,1\n'
PYTHON
