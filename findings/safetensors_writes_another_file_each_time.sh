#!/usr/bin/env bash
# safetensors writes the same tensors with the same metadata as another file each time.
#
# One would think that a file without dates or random numbers in it is the same for the same content:
# the tensors are sorted, and the format was made to be simple. What is: the entries of the metadata are
# written in an order that is drawn anew at each call, so that from two entries on the bytes differ, also
# within one process. Whatever tells files by their hash (DVC, git-annex, a cache, a test of
# reproducibility) sees a change where there is none: DVC runs later stages again and stores one more copy.
# So sort the entries in the head after writing, or compare tensors, not files.
#
# Versions: safetensors 0.8.0, numpy 2.3.5, Python 3.11. Source: observed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

tensors = {name: np.zeros(3, np.float32) for name in "abcdef"}


def files(entries):
    metadata = {f"key{number}": "value" for number in range(entries)}
    return {hashlib.sha256(save(tensors, metadata)).hexdigest()[:12] for _ in range(50)}


counts = {entries: len(files(entries)) for entries in (0, 1, 2, 5)}
for entries, count in counts.items():
    print(f"{entries} entries of metadata: {count} different files of 50 that hold the same")
sys.exit(0 if counts[0] == counts[1] == 1 and counts[2] == 2 and counts[5] > 10 else 1)
PYTHON
